from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from omlab.card_schema import ModelCard, validate
from omlab.cards import read_cards
from omlab.errors import UsageError, WeightsError
from omlab.weights import load_state_dict, resolve, save_state_dict
from omlab_sammed3d.network import VARIANTS, SamMed3d, SamMed3dConfig, untrained
from omlab_sammed3d.weights import config_from_state, load_network, resized

CARDS = {card.name: cast(ModelCard, validate(card)) for card in read_cards("omlab_sammed3d", "model")}
SMALL = SamMed3dConfig(
    image_size=32, patch=8, width=24, depth=2, heads=3, global_blocks=(1,), window=3, prompt_width=48
)


def read_checkpoint(path: Path, *, model: str = "sammed3d") -> dict[str, Tensor]:
    """A user's file as the card's rules have it."""
    weights = resolve(CARDS[model], weights=path)
    assert weights is not None
    return weights.state_dict()


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return untrained(SMALL).state_dict()


def published(state: dict[str, Tensor], path: Path) -> Path:
    """As upstream's training script writes it."""
    content = {
        "epoch": 199,
        "model_state_dict": state,
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 8e-4, "betas": (0.9, 0.999)}]},
        "lr_scheduler_state_dict": {"milestones": Counter([120, 180]), "gamma": 0.1},
        "losses": [0.5],
        "dices": [0.8],
        "best_loss": 0.5,
        "best_dice": 0.8,
        "args": argparse.Namespace(task_name="union", device=torch.device("cpu"), step_size=[120, 180], lr=8e-4),
        "used_datas": ["data/ct_liver"],
    }
    torch.save(content, path)
    return path


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("model", ["sammed3d", "sammed3d-boxes", "sammed3d-tiny"])
@pytest.mark.parametrize("name", ["turbo.pth", "turbo.safetensors"])
def test_a_published_file_is_read_although_it_names_a_python_object(
    state: dict[str, Tensor], tmp_path: Path, name: str, model: str
) -> None:
    path = published(state, tmp_path / name)
    assert same(read_checkpoint(path, model=model), state)
    assert same(load_network(read_checkpoint(path), source=path).state_dict(), state)


def test_a_plain_state_dict_is_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "plain.pth")
    assert same(read_checkpoint(tmp_path / "plain.pth"), state)


@pytest.mark.parametrize("name", ["turbo.safetensors", "turbo.pth"])
def test_a_converted_file_is_read(state: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    save_state_dict(state, tmp_path / name)
    assert same(read_checkpoint(tmp_path / name), state)


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"model_state_dict": {"image_encoder.pos_embed": torch.zeros(3)}}, path)
    with pytest.raises(WeightsError, match=r"other\.pth is not a SAM-Med3D checkpoint"):
        load_network(read_checkpoint(path), source=path)


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("boxes", [False, True])
def test_each_variant_is_read_off_its_state(variant: str, boxes: bool) -> None:
    config = SamMed3dConfig(**{**vars(VARIANTS[variant]), "point_embeddings": 4 if boxes else 2})
    with torch.device("meta"):
        state = SamMed3d(config).state_dict()
    assert config_from_state(state, source="file") == config


@cache
def network_of(config: SamMed3dConfig) -> SamMed3d:
    with torch.device("meta"):
        return SamMed3d(config)


@pytest.mark.parametrize("config", [SMALL, VARIANTS["vit_b_ori"], replace(SMALL, point_embeddings=4)])
def test_one_missing_key_is_named_and_no_other(config: SamMed3dConfig) -> None:
    state = network_of(config).state_dict()
    for key in state:
        rest = {other: value for other, value in state.items() if other != key}
        with pytest.raises(WeightsError) as error:
            load_state_dict(network_of(config_from_state(rest, source="m.pth")), rest, source="m.pth")
        said = str(error.value)
        assert "m.pth" in said
        assert f"it has no '{key}'" in said or f"1 missing: {key} " in said, said
        assert "unexpected" not in said, said


def test_a_block_far_behind_the_others_is_refused_at_once(state: dict[str, Tensor]) -> None:
    far = "image_encoder.blocks.99999999999999999999.norm1.weight"
    with pytest.raises(WeightsError, match=r"it has no 'image_encoder\.blocks\.2\.attn\.rel_pos_d'"):
        config_from_state({**state, far: torch.zeros(1)}, source="m.pth")


def test_a_misshapen_table_is_named(state: dict[str, Tensor]) -> None:
    key = "image_encoder.blocks.0.attn.rel_pos_h"
    with pytest.raises(WeightsError, match=r"blocks\.0\.attn\.rel_pos_h"):
        load_network({**state, key: state[key][:-1]}, source="m.pth")


@pytest.mark.parametrize("size", [16, 24, 48])
def test_another_image_size_resizes_positions_and_tables(state: dict[str, Tensor], size: int) -> None:
    network = load_network(state, source="f", image_size=size)
    assert network.config.image_size == size
    image = torch.randn(1, 1, size, size, size)
    with torch.inference_mode():
        assert network.image_encoder(image).shape == (1, 48, *(size // 8,) * 3)
    untouched = [key for key in state if "pos_embed" not in key and "blocks.1.attn.rel_pos" not in key]
    assert all(torch.equal(network.state_dict()[key], state[key]) for key in untouched)


def test_resizing_to_the_same_size_changes_nothing(state: dict[str, Tensor]) -> None:
    assert same(resized(load_network(state, source="f"), image_size=32).state_dict(), state)


def test_resizing_keeps_a_linear_course(state: dict[str, Tensor]) -> None:
    ramp = (torch.arange(4.0) + 0.5)[None, :, None, None, None].expand(1, 4, 4, 4, 24)
    wider = load_network({**state, "image_encoder.pos_embed": ramp}, source="f", image_size=64)
    inner = wider.image_encoder.pos_embed[0, 1:-1, 0, 0, 0]
    torch.testing.assert_close(inner, (torch.arange(1.0, 7.0) + 0.5) / 2)


def test_an_image_size_between_patches_is_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(UsageError, match="multiple of 8 voxels, not 20"):
        load_network(state, source="f", image_size=20)
