from __future__ import annotations

import pathlib
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab.card_schema import ModelCard, validate
from omlab.cards import read_cards
from omlab.errors import UsageError, WeightsError
from omlab.weights import load_state_dict, resolve
from omlab_stunet.network import SIZES, StuNet, StuNetConfig, untrained
from omlab_stunet.weights import (
    check_size,
    config_from_state,
    convert,
    load_network,
    size_name,
    transfer,
)

CARDS = {card.name: cast(ModelCard, validate(card)) for card in read_cards("omlab_stunet", "model")}
SMALLEST = StuNetConfig(depth=(2, 1, 1, 1, 1, 1), dims=(2, 2, 3, 3, 4, 4), in_channels=1, num_classes=3)


def v1_file(state: dict[str, Tensor], path: Path, *, prefix: str = "") -> Path:
    """As nnU-Net v1 writes it, with numpy numbers beside the weights."""
    momentum = {"state": {}, "param_groups": [{"lr": 0.01}]}
    content = {
        "epoch": 4000,
        "state_dict": {prefix + key: value for key, value in state.items()},
        "optimizer_state_dict": momentum,
        "lr_scheduler_state_dict": None,
        "plot_stuff": ([np.float64(-0.5)], [np.float32(-0.4)], [], [np.float64(0.8)]),
        "best_stuff": (np.float64(0.9), np.float64(0.1), 3),
    }
    torch.save(content, path)
    return path


def v2_file(state: dict[str, Tensor], path: Path, *, prefix: str = "") -> Path:
    content = {
        "network_weights": {prefix + k: v for k, v in state.items()},
        "trainer_name": "STUNetTrainer",
        "current_epoch": 3,
    }
    torch.save(content, path)
    return path


def read_checkpoint(path: Path, *, model: str = "stunet") -> dict[str, Tensor]:
    """A user's file as the card's rules have it."""
    weights = resolve(CARDS[model], weights=path)
    assert weights is not None
    return weights.state_dict()


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return untrained(SMALLEST).state_dict()


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("model", ["stunet", "stunet-base", "stunet-tiny"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize(
    ("write", "name"), [(v1_file, "a.model"), (v2_file, "a.pth"), (v1_file, "a.pth"), (v2_file, "a.model")]
)
def test_both_forms_of_nnunet_are_read(
    state: dict[str, Tensor], tmp_path: Path, write: Any, name: str, prefix: str, model: str
) -> None:
    assert same(read_checkpoint(write(state, tmp_path / name, prefix=prefix), model=model), state)


def test_a_plain_state_dict_is_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "plain.pt")
    assert same(read_checkpoint(tmp_path / "plain.pt"), state)


@settings(max_examples=10, deadline=None)
@given(
    depth=st.tuples(*[st.integers(1, 3)] * 6),
    dims=st.tuples(*[st.integers(1, 4)] * 6),
    in_channels=st.integers(1, 3),
    num_classes=st.integers(1, 6),
)
def test_the_architecture_is_read_off_the_state(
    depth: tuple[int, ...], dims: tuple[int, ...], in_channels: int, num_classes: int
) -> None:
    config = StuNetConfig(depth=depth, dims=dims, in_channels=in_channels, num_classes=num_classes)
    with torch.device("meta"):
        state = StuNet(config).state_dict()
    assert config_from_state(state, source="file") == config


@pytest.mark.parametrize("size", list(SIZES))
def test_each_size_is_recognised(size: str) -> None:
    with torch.device("meta"):
        state = StuNet(SIZES[size]).state_dict()
    config = config_from_state(state, source="file")
    assert size_name(config) == size
    check_size(config, size=size, state=state, source="file")


def test_the_wrong_size_is_named_with_key_and_shapes() -> None:
    with torch.device("meta"):
        state = StuNet(SIZES["small"]).state_dict()
    config = config_from_state(state, source="s.model")
    with pytest.raises(WeightsError) as error:
        check_size(config, size="base", state=state, source="s.model")
    assert str(error.value) == (
        "s.model holds STU-Net small, not base: conv_blocks_context.0.0.conv1.weight is (16, 1, 3, 3, 3) in the file "
        "and (32, 1, 3, 3, 3) in stunet-base; load it as stunet-small."
    )


def test_another_depth_of_the_same_widths_is_named() -> None:
    deep = StuNetConfig(depth=(2,) * 6, dims=SIZES["small"].dims)
    with torch.device("meta"):
        state = StuNet(deep).state_dict()
    with pytest.raises(
        WeightsError, match=r"depth 2-2-2-2-2-2 .*context\.0\.1\.conv1\.weight is only in the file; load it as stunet\."
    ):
        check_size(deep, size="small", state=state, source="d.model")


@cache
def network_of(config: StuNetConfig) -> StuNet:
    with torch.device("meta"):
        return StuNet(config)


def said_of(state: dict[str, Tensor]) -> str:
    """What is said of a state that is nobody's, without a network built for each."""
    with pytest.raises(WeightsError) as error:
        load_state_dict(network_of(config_from_state(state, source="m.model")), state, source="m.model")
    assert "m.model" in str(error.value)
    return str(error.value)


def test_one_missing_key_is_named_and_no_other(state: dict[str, Tensor]) -> None:
    for key in state:
        said = said_of({k: v for k, v in state.items() if k != key})
        assert f"it has no '{key}'" in said or f"1 missing: {key} " in said, said
        assert "unexpected" not in said, said


def test_flipped_keys_are_named(state: dict[str, Tensor]) -> None:
    keys = list(state)
    for number, first in enumerate(keys):
        for second in keys[number + 1 :]:
            flipped = {**state, first: state[second], second: state[first]}
            if state[first].shape != state[second].shape:
                said = said_of(flipped)
                assert first in said or second in said, said


def test_an_unexpected_key_is_named(state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match="final_conv"):
        load_network({**state, "final_conv.bias": torch.zeros(1)}, config=SMALLEST, source="f")


def test_a_block_far_behind_the_others_is_refused_at_once(state: dict[str, Tensor]) -> None:
    far = "conv_blocks_context.0.99999999999999999999.conv1.weight"
    torn = {**state, far: torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"1 unexpected: .*9{20}"):
        load_network(torn, config=config_from_state(torn, source="m.pth"), source="m.pth")


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    path = v1_file({"encoder.stages.0.weight": torch.zeros(3)}, tmp_path / "resenc.model")
    with pytest.raises(WeightsError, match=r"resenc\.model is not a STU-Net checkpoint.*encoder\.stages\.0\.weight"):
        config_from_state(read_checkpoint(path), source=path)


def test_a_damaged_file_is_one_sentence(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = v1_file(state, tmp_path / "a.model")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.model is damaged"):
        read_checkpoint(path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "path": pathlib.PurePosixPath("x")}, tmp_path / "code.model")
    with pytest.raises(WeightsError, match="refused"):
        read_checkpoint(tmp_path / "code.model")


def test_fine_tuning_takes_everything_but_the_heads(state: dict[str, Tensor]) -> None:
    target = untrained(StuNetConfig(depth=SMALLEST.depth, dims=SMALLEST.dims, num_classes=3), seed=1)
    fresh = {key: value.clone() for key, value in target.state_dict().items()}
    done = transfer(state, target)
    assert done.repeated == ()
    assert all(key.startswith("seg_outputs.") for key in done.kept)
    assert len(done.kept) == 10
    for key, value in target.state_dict().items():
        assert torch.equal(value, fresh[key] if key in done.kept else state[key]), key


def test_more_channels_repeat_the_weights_without_dividing(state: dict[str, Tensor]) -> None:
    target = untrained(StuNetConfig(depth=SMALLEST.depth, dims=SMALLEST.dims, in_channels=3, num_classes=5), seed=1)
    done = transfer(state, target)
    assert done.repeated == ("conv_blocks_context.0.0.conv1.weight", "conv_blocks_context.0.0.conv3.weight")
    for key in done.repeated:
        assert torch.equal(target.state_dict()[key], torch.cat([state[key]] * 3, dim=1))


def test_what_cannot_be_copied_is_reported(state: dict[str, Tensor]) -> None:
    two = untrained(StuNetConfig(depth=SMALLEST.depth, dims=SMALLEST.dims, in_channels=2, num_classes=3)).state_dict()
    target = untrained(StuNetConfig(depth=SMALLEST.depth, dims=SMALLEST.dims, in_channels=3, num_classes=3))
    kept = [key for key in transfer(two, target).kept if not key.startswith("seg_outputs.")]
    assert kept == ["conv_blocks_context.0.0.conv1.weight", "conv_blocks_context.0.0.conv3.weight"]


@pytest.mark.parametrize(("write", "form", "back"), [(v1_file, "v2", "v1"), (v2_file, "v1", "v2")])
def test_converting_there_and_back_keeps_every_bit(
    state: dict[str, Tensor], tmp_path: Path, write: Any, form: Any, back: Any
) -> None:
    source = write(state, tmp_path / "source")
    assert convert(source, tmp_path / "there", form=form) == SMALLEST
    convert(tmp_path / "there", tmp_path / "back", form=back)
    assert same(read_checkpoint(tmp_path / "back"), state)
    wrapper = {"v1": "state_dict", "v2": "network_weights"}[form]
    assert wrapper in torch.load(tmp_path / "there", weights_only=True)  # noqa: TID251 - the raw file is looked at


def test_converting_never_overwrites_and_leaves_nothing_partial(state: dict[str, Tensor], tmp_path: Path) -> None:
    source = v1_file(state, tmp_path / "source.model")
    with pytest.raises(UsageError, match="there already"):
        convert(source, source, form="v2")
    broken = v1_file({"weight": torch.zeros(1)}, tmp_path / "broken.model")
    with pytest.raises(WeightsError):
        convert(broken, tmp_path / "target.pth", form="v2")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.model", "source.model"]
