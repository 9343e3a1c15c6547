"""Published files: what network they hold, what is loaded into another one, and what is said of a wrong one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import omlab
from omlab.errors import SettingsError, WeightsError, WeightsWarning
from omlab_misfm.networks import CONFIGS, Network, untrained
from omlab_misfm.shifted_windows.naive import row_of, table_rows
from omlab_misfm.weights import resized_table, transfer

TINY = ["misfm-pctnet-tiny", "misfm-fmunet-tiny"]
SMALL = {"patch_size": [16, 32, 32]}


def written(path: Path, network: Network, **more: Any) -> Path:
    """A file as PyMIC writes it."""
    state = network.state_dict() | more
    torch.save(
        {"iteration": 3, "valid_pred": 0.5, "model_state_dict": state, "optimizer_state_dict": {"state": {}}}, path
    )
    return path


@pytest.mark.parametrize("name", TINY)
def test_a_file_of_any_name_is_loaded(name: str, tmp_path: Path) -> None:
    network = untrained(replace(CONFIGS[name], num_classes=3), seed=5)
    path = written(tmp_path / "fmunet_abd1k_volf.pt", network)
    model = omlab.load_model(name, weights=path, device="cpu").model
    assert model.module.config == network.config
    assert [label.name for label in model.task.labels] == ["class 1", "class 2"]
    assert all(torch.equal(value, model.module.state_dict()[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("mode", [1, 2])
def test_the_resolution_mode_of_fmunet_is_read_off_its_kernels(mode: Any, tmp_path: Path) -> None:
    network = untrained(replace(CONFIGS["misfm-fmunet-tiny"], resolution_mode=mode))
    path = written(tmp_path / "mine.pt", network)
    assert omlab.load_model("misfm-fmunet-tiny", weights=path, device="cpu").model.module.config == network.config
    with pytest.raises(WeightsError, match=f"has resolution mode {mode}, not 0"):
        omlab.load_model("misfm-fmunet-tiny", weights=path, device="cpu", settings={"resolution_mode": "0"})


def test_pctnet_is_made_for_the_window_of_its_tables(tmp_path: Path) -> None:
    network = untrained(replace(CONFIGS["misfm-pctnet-tiny"], input_size=(32, 48, 48), resolution_mode=0))
    path = written(tmp_path / "mine.pt", network)
    how = {"weights": path, "device": "cpu"}
    with pytest.raises(WeightsError, match=r"tables are for windows of \(6, 4, 2\) tokens.*give the patch_size"):
        omlab.load_model("misfm-pctnet-tiny", **how, settings={"resolution_mode": "0"})
    right = {"resolution_mode": "0", "patch_size": [32, 48, 48]}
    assert omlab.load_model("misfm-pctnet-tiny", **how, settings=right).model.module.config == network.config


def test_tables_are_resized_for_another_window_with_a_warning(tmp_path: Path) -> None:
    network = untrained(CONFIGS["misfm-pctnet-tiny"])
    path = written(tmp_path / "mine.pt", network)
    with pytest.warns(WeightsWarning, match="tables of relative positions are resized for windows of .8, 32, 32."):
        model = omlab.load_model("misfm-pctnet-tiny", weights=path, settings={"patch_size": [8, 32, 32]}).model
    assert model.module.config.windows_for((8, 32, 32)) == (4, 2, 1)


def without_a_level(state: Any) -> Any:
    return {key: value for key, value in state.items() if "down0" not in key and "down3" not in key}


def of_something_else(state: Any) -> Any:
    return {"body": torch.ones(1)}


def with_more(state: Any) -> Any:
    return state | {"more": torch.ones(2)}


@pytest.mark.parametrize(
    ("change", "sentence"), [(without_a_level, "missing"), (of_something_else, "is not a"), (with_more, "more")]
)
@pytest.mark.parametrize("name", TINY)
def test_a_wrong_file_is_named(name: str, change: Callable[[Any], Any], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.pt"
    torch.save({"model_state_dict": change(untrained(CONFIGS[name]).state_dict())}, path)
    with pytest.raises(WeightsError, match=sentence):
        omlab.load_model(name, weights=path, device="cpu")


def test_a_file_of_the_other_network_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "fmunet.pt", untrained(CONFIGS["misfm-fmunet-tiny"]))
    with pytest.raises(WeightsError, match=r"fmunet.pt is not a PCT-Net checkpoint.*begin with project.weight"):
        omlab.load_model("misfm-pctnet-tiny", weights=path)


def test_another_rule_of_the_tables_is_refused(tmp_path: Path) -> None:
    network = untrained(CONFIGS["misfm-pctnet-tiny"])
    key = "pyramid_ct.convtrans_e2.trans.blocks.0.attn.relative_position_index"
    path = written(tmp_path / "swin.pt", network, **{key: network.state_dict()[key] + 1})
    with pytest.raises(WeightsError, match="by another rule"):
        omlab.load_model("misfm-pctnet-tiny", weights=path)


@pytest.mark.parametrize("name", TINY)
def test_all_but_the_heads_is_taken_over(name: str) -> None:
    before = untrained(CONFIGS[name], seed=1)
    network = untrained(replace(CONFIGS[name], num_classes=3, in_channels=2), seed=2)
    heads = {key: value.clone() for key, value in network.state_dict().items()}
    done = transfer(before.state_dict(), network, heads=True)
    state = network.state_dict()
    assert done.kept
    assert all("out_" in key for key in done.kept)
    assert all(torch.equal(state[key], heads[key]) for key in done.kept)
    assert all(torch.equal(state[key], before.state_dict()[key]) for key in done.copied)
    image = torch.randn(1, 1, 16, 32, 32)
    part = "project" if "fmunet" in name else "embeddings.1.proj"
    first, second = before.get_submodule(part)(image), network.get_submodule(part)(image.expand(1, 2, -1, -1, -1))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_heads_are_left_out_unless_asked_for() -> None:
    before, network = (untrained(CONFIGS["misfm-fmunet-tiny"], seed=seed) for seed in (1, 2))
    done = transfer(before.state_dict(), network, heads=False)
    assert sorted(done.kept) == sorted(f"out_layers.{n}.2.{part}" for n in range(4) for part in ("weight", "bias"))


@pytest.mark.parametrize(("window", "to"), [(6, 4), (4, 6), (3, 3), (6, 1)])
def test_a_resized_table_keeps_what_an_offset_had(window: int, to: int) -> None:
    table = torch.randn(table_rows(window), 2, dtype=torch.float64)
    other = resized_table(table, window=window, to=to)
    assert other.shape == (table_rows(to), 2)
    for offset in ([1 - to] * 3, [to - 1] * 3):  # rows that no other offset shares
        before = torch.tensor(offset).clamp(1 - window, window - 1)
        torch.testing.assert_close(other[row_of(torch.tensor(offset), to)], table[row_of(before, window)])


def test_impossible_windows_are_refused() -> None:
    for patch, sentence in (([16, 32], "three whole"), ([12, 32, 32], "multiples"), ([8, 16, 16], "one voxel")):
        with pytest.raises(SettingsError, match=sentence):
            omlab.load_model("misfm-pctnet-tiny.untrained", device="cpu", settings={"patch_size": patch})


def test_published_shapes_load_quietly(tmp_path: Path) -> None:
    network = untrained(CONFIGS["misfm-fmunet-tiny"])
    path = written(tmp_path / "fmunet_abk1k_volf.pt", network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = omlab.load_model("misfm-fmunet-tiny", weights=path, settings=SMALL).model
    assert model.task.fusion
