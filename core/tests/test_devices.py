"""Where a model works, and that torch is only imported for one that uses it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

import omlab
from omlab import devices
from omlab.errors import UsageError
from omlab.models import find_model
from omlab.versions import uses_torch


@pytest.fixture
def declare(install, monkeypatch):
    """Install a distribution without code that declares requirements."""

    def make(name, *requirements):
        site = install(name, entry_points={}, files={})
        metadata = site / f"{name.replace('-', '_')}-1.0.dist-info" / "METADATA"
        rows = "".join(f"Requires-Dist: {requirement}\n" for requirement in requirements)
        metadata.write_text(metadata.read_text() + rows)
        return name

    uses_torch.cache_clear()
    yield make
    uses_torch.cache_clear()


@pytest.fixture
def gpus(monkeypatch):
    """A torch that sees two GPUs."""
    cuda = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, __spec__=SimpleNamespace()))


@pytest.mark.parametrize(
    ("requirements", "found"),
    [
        ((), False),
        (("numpy>=1.26", "omlab-far<1,>=0.1"), False),
        (("torch>=2.6",), True),
        (("Torch >= 2.6; python_version > '3'",), True),
        (("omlab-core[torch]<1,>=0.1",), True),
        (("omlab-core[dev, torch]<1",), True),
        (("torch>=2.6; extra == 'gpu'",), True),  # its own extra: it may well be installed
        (("torch-that-is-none",), False),  # a name that begins so is another
        (("odd-middle",), True),
        (("not-installed",), False),
        (("..broken",), False),
    ],
)
def test_whether_torch_is_used_is_told_by_what_is_declared(declare, requirements, found):
    declare("odd-middle", "odd-end", "odd-middle")
    declare("odd-end", "torch")
    declare("omlab-far", "torch>=2; extra == 'fast'")
    assert uses_torch(declare("odd-plugin", *requirements)) is found


def test_what_is_not_installed_may_use_torch():
    assert uses_torch("odd-nowhere")


def test_a_model_that_uses_no_torch_does_not_import_it(here, monkeypatch):
    (here / "a.sig").write_text("signal\n1")
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it raises
    monkeypatch.setattr(devices, "find_spec", lambda name: object())
    assert omlab.predict("adder", "a.sig", output="out").exit_status == 0


def test_a_model_that_uses_torch_takes_a_gpu_where_there_is_one(toy, gpus, monkeypatch):
    monkeypatch.setattr("omlab.models.uses_torch", lambda name: True)
    assert find_model("adder").device == "cuda"
    assert find_model("adder", device="cuda:1").device == "cuda:1"
    with pytest.raises(UsageError, match="has 2 CUDA devices"):
        find_model("adder", device="cuda:2")


def test_each_process_of_torchrun_loads_on_a_gpu_of_its_own(toy, gpus, monkeypatch):
    monkeypatch.setattr("omlab.models.uses_torch", lambda name: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert [find_model("adder", device=device).device for device in ("auto", "cuda", "cuda:0")] == [
        "cuda:1",
        "cuda:1",
        "cuda:0",
    ]
    monkeypatch.setenv("LOCAL_RANK", "2")  # more processes than GPUs: it is for the training to say so
    assert find_model("adder").device == "cuda"


def test_what_uses_no_torch_goes_where_what_it_needs_is(toy, gpus, monkeypatch):
    monkeypatch.setattr("omlab.models.uses_torch", lambda name: False)
    assert find_model("mover.untrained").device == "cpu"
    answers = iter([True, False])  # the adder, which is needed, and the mover
    monkeypatch.setattr("omlab.models.uses_torch", lambda name: next(answers))
    found = find_model("mover.untrained")
    assert (found.device, found.needs["helper"].device) == ("cuda", "cuda")


def test_a_gpu_without_torch_is_one_sentence(toy, monkeypatch):
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    assert find_model("adder").device == "cpu"
    with pytest.raises(UsageError, match="'cuda' needs torch, which is not installed"):
        find_model("adder", device="cuda")
