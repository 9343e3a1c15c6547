"""Reading checkpoints as trainers wrote them, and refusing bad ones."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omlab.errors import WeightsError
from omlab.weights import read_state_dict, save_state_dict

from .making import network, same


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


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, bad: float, dtype: torch.dtype) -> None:
    state = {f"layer{n}": torch.ones(3, 4).to(dtype) for n in range(9)}
    for n in range(7):
        state[f"layer{n}"][1, 2] = bad
    torch.save({"net": state}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth is refused: layer0, .*layer4 and 2 more \(7 of 9 tensors\)"):
        read_state_dict(tmp_path / "w.pth", wrapper="net")
    kept = read_state_dict(tmp_path / "w.pth", wrapper="net", dropped=[f"layer{n}" for n in range(7)])
    assert list(kept) == ["layer7", "layer8"]


def test_what_cannot_be_infinite_is_finite(tmp_path: Path) -> None:
    state = {
        "count": torch.tensor(3),
        "mask": torch.zeros(2, dtype=torch.bool),
        "none": torch.zeros(0, 3),
        "scalar": torch.tensor(1.5),
        "turn": torch.ones(2, dtype=torch.complex64),
        "largest": torch.full((3,), torch.finfo(torch.float16).max, dtype=torch.float16),
    }
    torch.save(state, tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth"), state)


def test_pipes_sockets_and_devices_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        for path, word in (("pipe", "a pipe"), ("s", "a socket"), ("/dev/zero", "a device")):
            with pytest.raises(WeightsError, match=f"{path} is {word}; weights are read from a file"):
                read_state_dict(Path(path))


ONE = torch.ones(2)


@pytest.mark.parametrize(
    "content",
    [
        {"net": {"module.a": ONE}, "optimizer": {"lr": 0.1}},  # as published
        {"state": {"module.a": ONE}, "epoch": 3},  # under another key
        {"state": {"a": ONE}, "losses": [0.1]},
        {"module.a": ONE},
        {"a": ONE},
    ],
)
def test_a_users_copy_may_be_converted_already(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "w.pth")
    rules = {"wrapper": "net", "prefix": "module."}
    assert same(read_state_dict(tmp_path / "w.pth", **rules, converted=True), {"a": ONE})
    if "net" not in content:
        with pytest.raises(WeightsError, match="has no 'net'"):
            read_state_dict(tmp_path / "w.pth", **rules)


def test_of_two_state_dicts_none_is_guessed(tmp_path: Path) -> None:
    torch.save({"model": {"a": ONE}, "average": {"a": ONE}}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"has no 'net': its keys are model, average; 'model' looks like"):
        read_state_dict(tmp_path / "w.pth", wrapper="net", converted=True)


@pytest.mark.parametrize("put_on", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("wrapper", ["", "net"])
def test_a_users_copy_may_have_what_torchs_wrappers_put_before_every_key(
    tmp_path: Path, wrapper: str, put_on: str
) -> None:
    content = {"epoch": 3, "weights": {f"{put_on}a": ONE, f"{put_on}module.b": ONE}}
    torch.save(content, tmp_path / "w.pth")
    state = read_state_dict(tmp_path / "w.pth", wrapper=wrapper, converted=True)
    assert same(state, {"a": ONE, "module.b": ONE})
    published = read_state_dict(tmp_path / "w.pth", wrapper="weights")
    assert same(published, content["weights"])


@pytest.mark.parametrize("name", ["w.pth", "w.model", "w"])
def test_the_form_is_told_by_content(tmp_path: Path, name: str) -> None:
    save_state_dict({"a": ONE}, tmp_path / name)
    assert same(read_state_dict(tmp_path / name), {"a": ONE})
    torch.save({"a": ONE}, tmp_path / "w.safetensors")
    assert same(read_state_dict(tmp_path / "w.safetensors"), {"a": ONE})
