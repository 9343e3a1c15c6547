"""Published files: the pre-training form into each network, and what is said of files that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omlab.errors import WeightsError
from omlab_usfm.atm import AtmConfig
from omlab_usfm.encoder import Encoder, EncoderConfig
from omlab_usfm.segmentation import SegVit, UperNet
from omlab_usfm.upernet import FcnConfig, UperConfig
from omlab_usfm.weights import (
    SHARED,
    check_is_encoder,
    config_of,
    encoder_of,
    layers_of,
    load_encoder,
    undecayed_of,
    with_published_buffers,
)

SMALL: dict[str, Any] = {"patch_size": 8, "width": 24, "depth": 3, "heads": 3}


def published() -> dict[str, Tensor]:
    """The form of the pre-training file: one shared table with its index, no norm, no head."""
    shared = EncoderConfig(image_size=32, block_tables=False, shared_table=True, **SMALL)
    encoder = Encoder(shared)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    state = with_published_buffers(encoder).state_dict()
    return {key: value for key, value in state.items() if not key.startswith("fc_norm.")}


def test_the_shared_table_is_every_block_s() -> None:
    state = published()
    assert "rel_pos_bias.relative_position_index" in state
    config = config_of(state, source="usfm.pth")
    assert config == EncoderConfig(image_size=32, **SMALL)
    encoder = Encoder(config).eval()
    load_encoder(encoder, state, source="usfm.pth")
    shared = Encoder(EncoderConfig(image_size=32, block_tables=False, shared_table=True, **SMALL)).eval()
    shared.load_state_dict({**state, **{k: v for k, v in shared.state_dict().items() if "fc_norm" in k}}, strict=False)
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder.features(image), shared.features(image))


def test_tables_are_brought_to_the_grid() -> None:
    encoder, state = Encoder(EncoderConfig(image_size=48, **SMALL)), published()
    load_encoder(encoder, state, source="usfm.pth")
    tables = [value for key, value in encoder.state_dict().items() if key.endswith("table")]
    assert {len(table) for table in tables} == {11**2 + 3}
    assert all(table.isfinite().all() for table in tables)
    assert torch.equal(tables[2][-3:], state[SHARED][-3:])


@pytest.mark.parametrize("upstream", [False, True])
def test_segvit_takes_the_encoder_whole_or_as_upstream_does(upstream: bool) -> None:
    form: dict[str, Any] = {"qv_bias": False, "layer_scale": None} if upstream else {}
    network = SegVit(
        EncoderConfig(image_size=32, **SMALL, **form),
        AtmConfig(classes=2, in_channels=24, width=8, heads=2, layers=1),
        blocks=(0, 1, 2),
    )
    before = network.decode_head.q.weight.clone()
    state = published()
    load_encoder(network, state, source="usfm.pth")
    held = network.backbone.state_dict()
    assert ("blocks.0.attn.q_bias" in held) is not upstream
    assert torch.equal(held["blocks.2.mlp.fc1.weight"], state["blocks.2.mlp.fc1.weight"])
    assert torch.equal(network.decode_head.q.weight, before)


def test_a_fine_tuned_classifier_is_an_encoder_too() -> None:
    state = Encoder(EncoderConfig(image_size=32, **SMALL), classes=5).state_dict()
    encoder = Encoder(config_of(state, source="tuned.pth"))
    load_encoder(encoder, state, source="tuned.pth")
    assert torch.equal(encoder.state_dict()["fc_norm.weight"], state["fc_norm.weight"])


@pytest.mark.parametrize("key", ["blocks.1.mlp.fc2.bias", "cls_token", "blocks.2.gamma_1"])
def test_a_key_that_is_missing_is_named(key: str) -> None:
    state = published()
    del state[key]
    with pytest.raises(WeightsError, match=key.replace(".", r"\.")):
        load_encoder(Encoder(EncoderConfig(image_size=32, **SMALL)), state, source="usfm.pth")


def test_a_key_that_is_not_known_is_named() -> None:
    with pytest.raises(WeightsError, match="unexpected: extra"):
        load_encoder(
            Encoder(EncoderConfig(image_size=32, **SMALL)), published() | {"extra": torch.ones(2)}, source="usfm.pth"
        )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["patch_embed.proj.weight", "pos_embed"], "plain vision transformer"),
        (["backbone.patch_embed.proj.weight"], "whole segmentation network"),
        (["encoder.patch_embed.proj.weight"], "under another name"),
        (["conv1.weight"], "holds something else"),
    ],
)
def test_another_network_s_file_is_told_in_one_sentence(keys: list[str], words: str) -> None:
    with pytest.raises(WeightsError, match=words) as caught:
        check_is_encoder({key: torch.ones(1) for key in keys}, source="other.pth")
    assert str(caught.value).count("\n") == 0


def test_a_file_without_a_table_is_refused() -> None:
    state = {key: value for key, value in published().items() if "table" not in key}
    with pytest.raises(WeightsError, match="no table of relative positions"):
        config_of(state, source="usfm.pth")


@pytest.mark.parametrize("network", ["encoder", "segvit", "upernet"])
def test_every_parameter_is_in_one_layer(network: str) -> None:
    config = EncoderConfig(image_size=32, **SMALL)
    made: Any
    if network == "encoder":
        made = Encoder(config, classes=2)
    elif network == "segvit":
        made = SegVit(config, AtmConfig(classes=2, in_channels=24, width=8, heads=2), blocks=(0, 1, 2))
    else:
        uper = UperConfig(classes=2, in_channels=(24,) * 3, channels=8)
        made = UperNet(config, uper, FcnConfig(classes=2, in_channels=24, channels=8), blocks=(0, 1, 2))
    layers = layers_of(made)
    assert sorted(name for layer in layers for name in layer) == sorted(name for name, _ in made.named_parameters())
    assert len(layers) == 5
    assert all(layers)
    assert [name.split(".")[-1] for name in undecayed_of(made)] == ["cls_token"]
    assert encoder_of(made).config == config
