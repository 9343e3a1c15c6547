"""Each published form of a file is told by its keys, and what is not whole is named."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from omlab.errors import SettingsError, WeightsError
from omlab.weights import load_state_dict, read_state_dict
from omlab_retfound.mae import DecoderConfig, MaskedAutoencoder, untrained_autoencoder
from omlab_retfound.vit import VitConfig, untrained
from omlab_retfound.weights import check_form, pooled, recognise, resized

MAE = VitConfig(size=32, patch=8, width=128, depth=2, heads=2)
DINO = replace(MAE, form="dinov2", pool="token")
GREEN = replace(MAE, form="green")
DECODER = DecoderConfig(width=64, depth=1, heads=2)


def state_of(config: VitConfig, decoder: DecoderConfig | None = None) -> dict[str, Tensor]:
    network = untrained(config) if decoder is None else untrained_autoencoder(config, decoder=decoder)
    return {key: value + 0.01 * torch.rand_like(value) for key, value in network.state_dict().items()}


def teacher(state: dict[str, Tensor], *, chunked: bool) -> dict[str, Tensor]:
    """As DINOv2's training keeps it: a prefix, blocks in chunks, heads and a mask beside."""
    named = {key.replace("blocks.", "blocks.0.", 1) if chunked else key: value for key, value in state.items()}
    more = {"mask_token": torch.zeros(1, 128)}
    heads = {"dino_head.mlp.0.weight": torch.zeros(2, 2), "ibot_head.mlp.0.weight": torch.zeros(2, 2)}
    return {f"backbone.{key}": value for key, value in {**named, **more}.items()} | heads


def test_a_whole_mae_file_is_read_beside_optimizer_and_arguments(tmp_path: Path) -> None:
    state = state_of(MAE, DECODER)
    content = {
        "model": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "epoch": 799,
        "args": argparse.Namespace(mask_ratio=0.75),
    }
    torch.save(content, tmp_path / "cfp.pth")
    found = recognise(read_state_dict(tmp_path / "cfp.pth", wrapper="model"), source="cfp.pth")
    assert (found.config, found.decoder) == (MAE, DECODER)
    network = found.allocate()
    assert isinstance(network, MaskedAutoencoder)
    load_state_dict(network, found.state, source="cfp.pth")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def loaded(state: dict[str, Tensor]) -> None:
    found = recognise(state, source="m.pth")
    load_state_dict(found.allocate(), found.state, source="m.pth")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_dinov2_teacher_is_read_with_its_prefix_chunks_and_heads(chunked: bool) -> None:
    state = state_of(DINO)
    found = recognise(teacher(state, chunked=chunked), source="dino.pth")
    assert found.config == DINO
    assert found.state.keys() == state.keys()
    load_state_dict(found.allocate(), found.state, source="dino.pth")


@pytest.mark.parametrize("config", [GREEN, replace(MAE, classes=3), replace(MAE, classes=3, pool="token")])
def test_green_and_classifiers_are_told_with_their_classes_and_pool(config: VitConfig) -> None:
    found = recognise(state_of(config), source="file")
    assert found.config == config
    load_state_dict(found.allocate(), found.state, source="file")


def test_an_encoder_alone_gets_a_norm_of_the_mean_that_does_nothing() -> None:
    state = {key: value for key, value in state_of(MAE, DECODER).items() if "decoder_" not in key}
    del state["mask_token"]
    found = pooled(recognise(state, source="file"), pool="avg", head_norm="double")
    network = found.allocate()
    load_state_dict(network, found.state, source="file")
    assert torch.equal(network.fc_norm.weight, torch.ones(128))
    assert found.config.head_norm == "single"
    whole = untrained_autoencoder(MAE, decoder=DECODER)
    whole.load_state_dict(state, strict=False)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.features(images), whole.features(images))


def test_the_head_form_is_that_of_classifiers_that_norm_the_mean() -> None:
    double = pooled(recognise(state_of(replace(MAE, classes=3)), source="f"), pool="token", head_norm="double")
    assert (double.config.head_norm, double.config.pool) == ("double", "avg")
    token = pooled(
        recognise(state_of(replace(MAE, classes=3, pool="token")), source="f"), pool="avg", head_norm="double"
    )
    assert (token.config.head_norm, token.config.pool) == ("single", "token")


def test_another_size_resizes_all_tables() -> None:
    found = resized(recognise(state_of(MAE, DECODER), source="file"), size=48)
    network = found.allocate()
    load_state_dict(network, found.state, source="file")
    assert network.pos_embed.shape == (1, 37, 128)
    with pytest.raises(SettingsError, match="size is 50, but must be a multiple of the patch, 8 pixels"):
        resized(found, size=50)


def test_each_key_that_is_missing_is_named_and_no_other() -> None:
    for state in (state_of(MAE, DECODER), state_of(GREEN), teacher(state_of(DINO), chunked=True)):
        for key in state:
            if key.startswith(("dino_head", "ibot_head", "head.")) or "mask_token" in key:
                continue
            rest = {name: value for name, value in state.items() if name != key}
            with pytest.raises(WeightsError) as error:
                loaded(rest)
            name = key.removeprefix("backbone.").replace("blocks.0.0", "blocks.0").replace("blocks.0.1", "blocks.1")
            assert name in str(error.value), (key, str(error.value))


def test_another_file_is_refused_in_one_sentence() -> None:
    with pytest.raises(WeightsError, match=r"x\.pth is not a RETFound checkpoint.*'cls_token'.*layer1\.weight"):
        recognise({"layer1.weight": torch.zeros(2)}, source="x.pth")
    flat = state_of(MAE) | {"pos_embed": torch.zeros(3)}
    with pytest.raises(WeightsError, match=r"'pos_embed' has the shape \(3,\)"):
        recognise(flat, source="x.pth")


def test_another_form_is_said_with_the_model_that_takes_it() -> None:
    check_form(recognise(state_of(GREEN), source="f"), form="green", source="f")
    with pytest.raises(WeightsError, match=r"holds an encoder of the DINOv2 form.*load it as retfound-dinov2"):
        check_form(recognise(state_of(DINO), source="f"), form="mae", source="f")
    with pytest.raises(WeightsError, match=r"a classifier of 3 classes.*load it as retfound-classifier"):
        check_form(recognise(state_of(replace(MAE, classes=3)), source="f"), form="mae", source="f")
