"""State dicts into networks, and onto the disk."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omlab.errors import OutputError, WeightsError
from omlab.weights import check_entries, depth_of, load_state_dict, read_state_dict, save_state_dict

from .making import network, same


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


def test_another_networks_state_is_told_by_the_entries_that_it_lacks() -> None:
    state = {"stem.weight": torch.zeros(4, 1, 3, 3), "head.weight": torch.zeros(2)}
    check_entries(state, {"stem.weight": 4}, what="a Toy checkpoint", source="x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth is not a Toy .* no 'neck' \(its keys begin with stem"):
        check_entries(state, {"head.weight": 2, "neck": 2}, what="a Toy checkpoint", source="x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth is not a Toy checkpoint: 'head\.weight' has the shape \(2,\)"):
        check_entries(state, {"stem.weight": 4, "head.weight": 2}, what="a Toy checkpoint", source="x.pth")


def test_blocks_are_counted_and_a_number_far_behind_is_no_depth() -> None:
    state = {f"encoder.blocks.{n}.{part}.weight": torch.zeros(1) for n in (0, 1, 2) for part in ("norm", "mlp")}
    far = {"encoder.blocks.99999999999999999999.norm.weight": torch.zeros(1)}
    assert depth_of(state, r"encoder\.blocks\.(\d+)\.") == 3
    assert depth_of({**state, **far}, r"encoder\.blocks\.(\d+)\.") == 4
    assert depth_of(state, r"blocks\.(\d+)\.") == 0
