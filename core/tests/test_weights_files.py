"""Reading checkpoints as trainers wrote them, refusing bad ones, and loading them into networks."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omlab import weights
from omlab.card_schema import ModelCard
from omlab.errors import OutputError, UnknownNameError, WeightsError
from omlab.weights import load_state_dict, read_state_dict, save_state_dict


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.InstanceNorm3d(2, affine=True), torch.nn.Linear(2, 3))


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a)


def nnunet_v1(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """A checkpoint with the entries and numpy numbers of an nnU-Net v1 `.model` file."""
    figures = [np.float64(0.5), np.float32(0.25), 0.125]
    return {
        "epoch": 4000,
        "state_dict": OrderedDict(state),
        "optimizer_state_dict": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.01}]},
        "lr_scheduler_state_dict": None,
        "plot_stuff": (figures, figures, [], [np.float64(0.9), np.int64(3), np.bool_(True)]),
        "best_stuff": (np.float64(0.1), np.zeros(3, np.float32), None),
        "amp_grad_scaler": {"scale": 65536.0, "_growth_tracker": 3},
    }


def with_old_numpy(path: Path) -> None:
    """Rename numpy's private package to what numpy 1 called it, as in files of that time."""
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    if not zipfile.is_zipfile(path):
        path.write_bytes(path.read_bytes().replace(new, old))
        return
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content.replace(new, old) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("old_numpy", [True, False])
def test_old_nnunet_files(tmp_path: Path, *, zipped: bool, old_numpy: bool) -> None:
    path, state = tmp_path / "w.model", network().state_dict()
    torch.save(nnunet_v1(state), path, _use_new_zipfile_serialization=zipped)
    if old_numpy:
        with_old_numpy(path)
        assert b"numpy._core" not in path.read_bytes()
    assert same(read_state_dict(path, wrapper="state_dict"), dict(state))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_namespace_beside_the_weights_is_not_built(tmp_path: Path, *, zipped: bool) -> None:
    path = tmp_path / "turbo.pth"
    args = argparse.Namespace(lr=8e-4, device=torch.device("cpu"), steps=[120, 180])
    torch.save(
        {"model_state_dict": {"a": torch.ones(2)}, "args": args, "best": args},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    assert torch.equal(read_state_dict(path, wrapper="model_state_dict")["a"], torch.ones(2))
    with pytest.raises(WeightsError, match="'model_state_dict' looks like the state dict"):
        read_state_dict(path)


def test_wrappers_and_prefixes(tmp_path: Path) -> None:
    state = network().state_dict()
    prefixed = {f"module.{key}": value for key, value in state.items()}
    torch.save({"a": {"b.c": prefixed}, "x.y": dict(state), "n": 1}, tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth", wrapper="x.y"), dict(state))
    torch.save({"a": {"b": prefixed}}, tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth", wrapper="a.b", prefix="module."), dict(state))
    with pytest.raises(WeightsError, match=r"has no 'a.net': its keys are a"):
        read_state_dict(tmp_path / "w.pth", wrapper="a.net")
    with pytest.raises(WeightsError, match=r"No key of .* begins with 'encoder.': its keys are module\.0\.weight"):
        read_state_dict(tmp_path / "w.pth", wrapper="a.b", prefix="encoder.")
    torch.save({"m.x": torch.ones(1), "x": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="has 'x' twice"):
        read_state_dict(tmp_path / "w.pth", prefix="m.")


def test_the_wrapper_is_suggested(tmp_path: Path) -> None:
    torch.save(nnunet_v1(network().state_dict()), tmp_path / "w.model")
    for wrapper in ("", "network_weights"):
        with pytest.raises(WeightsError, match=r"its keys are epoch, .*'state_dict' looks like the state dict"):
            read_state_dict(tmp_path / "w.model", wrapper=wrapper)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8]),
)
def test_save_and_read_round_trip(tmp_path: Path, shapes: list[list[int]], dtype: torch.dtype) -> None:
    tensors = {f"t{i}": (torch.rand(shape) * 3).to(dtype) for i, shape in enumerate(shapes)}
    save_state_dict(tensors, tmp_path / "w.model")  # told by content, not by the suffix
    assert same(read_state_dict(tmp_path / "w.model"), tensors)


def test_shared_and_strided_tensors_are_saved(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4).requires_grad_()
    tensors = {"whole": base, "again": base, "part": base[1], "turned": base.T, "wide": torch.ones(1).expand(5)}
    save_state_dict(tensors, tmp_path / "w.safetensors")
    assert same(read_state_dict(tmp_path / "w.safetensors"), {k: v.detach().contiguous() for k, v in tensors.items()})
    with pytest.raises(WeightsError, match="'s' cannot be stored"):
        save_state_dict({"s": torch.eye(2).to_sparse()}, tmp_path / "w.safetensors")


def test_saving_fails_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    save_state_dict({"a": torch.ones(2)}, path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
        with pytest.raises(OutputError, match="the disk is full"):
            save_state_dict({"a": torch.zeros(200)}, path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file system")))
        with pytest.raises(OutputError, match="no right to write"):
            save_state_dict({"a": torch.zeros(2)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match="a folder of that name"):
        save_state_dict({"a": torch.zeros(2)}, tmp_path)


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


class Evaluates:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1+1",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused(tmp_path: Path, *, zipped: bool) -> None:
    path, touched = tmp_path / "w.pth", tmp_path / "touched"
    for harmful, name in ((Attack(touched), "posix.system"), (Evaluates(), "eval"), (network(), "torch.nn.modules")):
        torch.save({"state_dict": harmful}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(WeightsError, match=rf"is refused: it asks for the Python object '{name}") as caught:
            read_state_dict(path, wrapper="state_dict")
        assert "\n" not in str(caught.value)
    assert not touched.exists()


def test_numpy_code_is_not_let_in_by_the_allow_list(tmp_path: Path) -> None:
    class Loads:
        def __reduce__(self) -> tuple[Any, ...]:
            return np.load, ("x.npy",)

    torch.save({"plot_stuff": Loads()}, tmp_path / "w.model")
    with pytest.raises(WeightsError, match="refused"):
        read_state_dict(tmp_path / "w.model")


def test_every_flipped_byte_of_the_weights_is_found_in_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.arange(64.0)}, path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith("data/0"))
    at = content.index(torch.arange(64.0).numpy().tobytes())
    for offset in (at, at + 100, at + info.file_size - 1):
        path.write_bytes(content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :])
        with pytest.raises(WeightsError, match="wrong checksum"):
            read_state_dict(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["zip", "legacy", "safetensors"]), share=st.floats(0, 0.999))
def test_a_truncated_file_is_one_sentence(tmp_path: Path, form: str, share: float) -> None:
    path, tensors = tmp_path / "w", {"a": torch.arange(64.0), "b": torch.ones(3)}
    if form == "safetensors":
        save_state_dict(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=form == "zip")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(WeightsError, match=str(path)) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["zip", "legacy", "safetensors"]), share=st.floats(0, 0.999), mask=st.integers(1, 255))
def test_a_flipped_byte_never_escapes_as_another_error(tmp_path: Path, form: str, share: float, mask: int) -> None:
    path, tensors = tmp_path / "w", {"a": torch.arange(8.0), "b": torch.ones(3)}
    if form == "safetensors":
        save_state_dict(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=form == "zip")
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= mask
    path.write_bytes(content)
    try:
        read = read_state_dict(path)
    except WeightsError as error:
        assert str(path) in str(error)  # noqa: PT017 - both outcomes are right, but for a zip
    else:
        assert form != "zip" or same(read, tensors)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"hello, I am no checkpoint", "not a checkpoint"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"\x1f\x8b\x08\x00", "gzip archive"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\xff" * 7 + b"\x7f{", "is truncated"),
        (b"\x80\x02.", "is damaged, truncated or not a torch checkpoint"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=sentence):
        read_state_dict(tmp_path / "w.pth")


def test_what_is_no_state_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pth"
    with pytest.raises(WeightsError, match="is a folder"):
        read_state_dict(tmp_path)
    with pytest.raises(WeightsError, match="There is no weights file"):
        read_state_dict(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "dear")
    with pytest.raises(WeightsError, match="a zip file but not a torch checkpoint"):
        read_state_dict(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", "x")
        archive.writestr("m/constants.pkl", "x")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_state_dict(path)
    for content, sentence in (([1, 2], "holds a list"), ({}, "empty state dict"), ({"a": 1}, "'a' is a int")):
        torch.save(content, path)
        with pytest.raises(WeightsError, match=sentence):
            read_state_dict(path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match="cannot be read: Permission denied"):
        read_state_dict(path)


def test_loading_names_what_does_not_fit() -> None:
    module = network()
    state = dict(network().state_dict())
    fresh = {key: torch.full_like(value, 7.0) for key, value in state.items()}
    load_state_dict(module, fresh, source="w.pth")
    assert all(bool((value == 7).all()) for value in module.state_dict().values())

    wrong = {**state, "2.weight": torch.zeros(4, 2), "extra.one": torch.zeros(1)}
    del wrong["0.bias"]
    with pytest.raises(WeightsError) as caught:
        load_state_dict(module, wrong, source="w.pth")
    said = str(caught.value)
    assert said.startswith("w.pth does not fit Sequential (6 entries in the network, 6 in the file)")
    assert "1 missing: 0.bias (2)" in said
    assert "1 unexpected: extra.one (1)" in said
    assert "1 of another shape: 2.weight (4, 2) where the network has (3, 2)" in said
    assert bool((module.state_dict()["0.weight"] == 7).all()), "nothing is copied unless all fits"

    many = {**state, **{f"x{i}": torch.zeros(1) for i in range(9)}}
    with pytest.raises(WeightsError, match=r"9 unexpected: x0 \(1\), .*x4 \(1\), and 4 more\.$"):
        load_state_dict(module, many, source="w.pth")


def test_named_exceptions_are_let_through() -> None:
    module = network()
    kept = module.state_dict()["2.weight"].clone()
    state = {**network().state_dict(), "decoder.0.w": torch.zeros(1), "2.weight": torch.zeros(9, 9)}
    load_state_dict(module, state, missing=("2.w*", "nothing.*"), dropped=("decoder.*", "2.weight"), source="w")
    assert torch.equal(module.state_dict()["2.weight"], kept)
    with pytest.raises(WeightsError, match=r"1 unexpected: decoder\.0\.w"):
        load_state_dict(module, state, missing=("2.weight",), dropped=("decoder?0?w", "2.weight"), source="w")


def test_half_precision_files_fit_full_precision_networks(tmp_path: Path) -> None:
    state = {key: value.to(torch.bfloat16) for key, value in network().state_dict().items()}
    save_state_dict(state, tmp_path / "w")
    module = network()
    load_state_dict(module, read_state_dict(tmp_path / "w"), source="w")
    assert module.state_dict()["0.weight"].dtype == torch.float32
    assert torch.equal(module.state_dict()["0.weight"], state["0.weight"].float())


def card(tmp_path: Path) -> ModelCard:
    return ModelCard.model_validate(
        {
            "name": "net",
            "summary": "A network.",
            "entry": "net.model:load",
            "licence": "Apache-2.0",
            "takes": "volume",
            "gives": "labelmap",
            "task": "segmentation",
            "intended_use": "Tests.",
            "limits": "All.",
            "citation": "None.",
            "default_weights": "first",
            "weights": {
                "first": {
                    "summary": "Weights.",
                    "licence": "CC0-1.0",
                    "files": [{"name": "w.bin", "url": (tmp_path / "w.bin").as_uri(), "size": 3}],
                }
            },
        }
    )


def test_resolving(tmp_path: Path) -> None:
    mine = card(tmp_path)
    with pytest.raises(WeightsError, match="There is no weights file"):
        weights.resolve(mine)
    (tmp_path / "w.bin").write_bytes(b"abc")
    assert weights.resolve(mine) == weights.resolve(mine, "first", offline=True) == tmp_path / "w.bin"
    assert weights.resolve(mine, "untrained") is None
    with pytest.raises(UnknownNameError, match=r"no published weights 'firsd': did you mean 'first'\?"):
        weights.resolve(mine, "firsd")
    (tmp_path / "own.pth").write_bytes(b"x")
    assert weights.resolve(mine, weights=tmp_path / "own.pth") == tmp_path / "own.pth"
    for bad, sentence in ((tmp_path, "is a folder"), (tmp_path / "none", "There is no weights file")):
        with pytest.raises(WeightsError, match=sentence):
            weights.resolve(mine, weights=bad)
