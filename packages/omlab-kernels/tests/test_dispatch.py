"""Which form runs, and what importing the package does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest
import torch

import omlab_kernels
from omlab_kernels import KernelWarning, dispatch


class Cuda(torch.Tensor):
    """Stands for a tensor on a CUDA device, where there is none."""

    is_cuda = True  # type: ignore[assignment]


@pytest.fixture
def cuda() -> torch.Tensor:
    return torch.zeros(1).as_subclass(Cuda)  # type: ignore[no-any-return]


@pytest.fixture
def without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "has_triton", lambda: False)
    dispatch._warn_once.cache_clear()


def test_left_to_itself(monkeypatch: pytest.MonkeyPatch, cuda: torch.Tensor) -> None:
    monkeypatch.delenv("OMLAB_KERNELS", raising=False)
    monkeypatch.setattr(dispatch, "has_triton", lambda: True)
    assert dispatch.form_for(torch.zeros(1)) == "torch"
    assert dispatch.form_for(cuda) == "triton"
    assert dispatch.form_for(cuda.double()) == "torch"
    monkeypatch.setenv("OMLAB_KERNELS", "torch")
    assert dispatch.form_for(cuda) == "torch"


@pytest.mark.usefixtures("without_triton")
def test_without_triton_one_warning(monkeypatch: pytest.MonkeyPatch, cuda: torch.Tensor) -> None:
    monkeypatch.delenv("OMLAB_KERNELS", raising=False)
    with pytest.warns(KernelWarning, match="Triton is not installed"):
        assert dispatch.form_for(cuda) == "torch"
    assert dispatch.form_for(cuda) == "torch"  # a second warning would be an error


@pytest.mark.usefixtures("without_triton")
def test_what_cannot_be_had(monkeypatch: pytest.MonkeyPatch, cuda: torch.Tensor) -> None:
    monkeypatch.setenv("OMLAB_KERNELS", "triton")
    with pytest.raises(RuntimeError, match="CUDA device"):
        dispatch.form_for(cuda)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setenv("OMLAB_KERNELS", "interpret")
    with pytest.raises(RuntimeError, match="needs the package triton"):
        dispatch.form_for(torch.zeros(1))
    monkeypatch.setenv("OMLAB_KERNELS", "fast")
    with pytest.raises(ValueError, match="'fast'"):
        dispatch.form_for(torch.zeros(1))


def test_interpreter_must_be_asked_for_before_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "has_triton", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setenv("OMLAB_KERNELS", "interpret")
    monkeypatch.setitem(sys.modules, "triton", sys)
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=1"):
        dispatch.form_for(torch.zeros(1))
    monkeypatch.delitem(sys.modules, "triton")
    assert dispatch.form_for(torch.zeros(1)) == "triton"


LAUNCHERS = {
    "dice_ce": ("class_sums", "class_sums_backward"),
    "fusion": ("volume_fusion",),
    "norm_act": ("forward", "backward"),
    "relpos": ("forward", "backward"),
    "window": ("window_accumulate", "window_argmax"),
}


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("family", LAUNCHERS)
def test_kernels_are_launched_on_the_device_of_their_tensor(
    family: str, monkeypatch: pytest.MonkeyPatch, cuda: torch.Tensor
) -> None:
    entered: list[torch.Tensor] = []

    @contextmanager
    def device_of(tensor: torch.Tensor) -> Iterator[None]:
        entered.append(tensor)
        yield

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    module = import_module(f"omlab_kernels.{family}.triton")
    for name in LAUNCHERS[family]:
        with pytest.raises(TypeError, match="missing"):  # the wrapper is entered, its arguments are left out
            getattr(module, name)(cuda)
        assert entered.pop() is cuda


@pytest.mark.gpu
def test_a_second_device_that_is_not_the_current_one() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 5, 4000), torch.randint(5, (1, 4000))
    wanted = omlab_kernels.dice_cross_entropy(logits, labels)
    with torch.cuda.device(0):
        found = omlab_kernels.dice_cross_entropy(logits.to("cuda:1"), labels.to("cuda:1"))
    torch.testing.assert_close(found.cpu(), wanted)


def test_import_does_nothing_and_triton_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['triton'] = None; import omlab_kernels; assert 'torch' not in sys.modules; "
        "import torch; logits, labels = torch.zeros(1, 2, 3), torch.zeros(1, 3, dtype=torch.long);"
        "print(omlab_kernels.dice_cross_entropy(logits, labels).item())"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0


def test_public_names() -> None:
    for name in omlab_kernels.__all__:
        assert callable(getattr(omlab_kernels, name))
    with pytest.raises(AttributeError, match="no attribute 'fast'"):
        _ = omlab_kernels.fast
