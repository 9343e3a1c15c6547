"""Published files: pre-trained autoencoders into each network, the pickled one, and what is said of others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import omlab
from omlab.errors import WeightsError, WeightsWarning
from omlab.weights import read_state_dict
from omlab_deblurmim.autoencoder import ConvMae, DecoderConfig, Mae
from omlab_deblurmim.convvit import ConvConfig, ConvVit
from omlab_deblurmim.model import DeblurMimModel
from omlab_deblurmim.segmentation import Segmenter, SegmenterConfig
from omlab_deblurmim.vit import Vit, VitConfig
from omlab_deblurmim.weights import (
    config_of,
    convert,
    decoder_config_of,
    is_convolutional,
    layers_of,
    load_encoder,
    load_segmenter,
    resized_positions,
    undecayed_of,
    with_published_buffers,
)

VIT = VitConfig(image_size=32, patch_size=8, width=128, depth=4, heads=2)
CONV = ConvConfig(image_size=32, widths=(8, 12, 64), depths=(1, 1, 2), heads=1)
PAINTER = DecoderConfig(width=32, depth=1, heads=1)


def drawn(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network.eval()


def published(number: int) -> dict[str, Tensor]:
    made = Mae(VIT, decoder=PAINTER) if number == 0 else ConvMae(CONV, decoder=PAINTER)
    return dict(drawn(made).state_dict())


def checkpoint(path: Path, number: int) -> Path:
    """As upstream's trainer writes it: weights under `model`, its arguments beside them."""
    torch.save({"model": published(number), "epoch": 799, "args": argparse.Namespace(blr=1.5e-4)}, path)
    return path


@pytest.mark.parametrize(("number", "config"), [(0, VIT), (1, CONV)])
def test_a_file_tells_its_network(number: int, config: Any) -> None:
    state = published(number)
    assert is_convolutional(state, source="a") == (number == 1)
    assert config_of(state, source="a") == config
    assert decoder_config_of(state) == PAINTER
    assert decoder_config_of({name: value for name, value in state.items() if "decoder" not in name}) is None


@pytest.mark.parametrize("number", [0, 1])
def test_a_classifier_takes_the_encoder(number: int) -> None:
    state = published(number)
    network: Any = Vit(VIT, classes=2) if number == 0 else ConvVit(CONV, classes=2)
    load_encoder(network, state, source="a")
    held = network.state_dict()
    taken = [key for key in held if key in state and torch.equal(held[key], state[key])]
    assert set(held) - set(taken) == {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}


@pytest.mark.parametrize("number", [0, 1])
def test_a_segmenter_takes_the_encoder_at_another_size(number: int) -> None:
    state = published(number)
    encoder: Any = (
        VitConfig(image_size=64, patch_size=8, width=128, depth=4, heads=2)
        if number == 0
        else ConvConfig(image_size=64, widths=(8, 12, 64), depths=(1, 1, 2), heads=1)
    )
    network = Segmenter(SegmenterConfig(encoder=encoder, widths=(8, 8, 8, 8), blocks=(0, 1, 2, 3)))
    load_encoder(network, state, source="a")
    held = network.encoder.state_dict()
    last = "blocks.3" if number == 0 else "blocks3.1"
    assert torch.equal(held[f"{last}.attn.qkv.bias"], state[f"{last}.attn.qkv.bias"])
    assert torch.equal(held[f"{last}.gamma_1"], torch.ones_like(held[f"{last}.gamma_1"]))
    assert held["pos_embed"].shape[1] > state["pos_embed"].shape[1]


def test_positions_are_resized_beside_the_class_token() -> None:
    table = torch.cat([torch.full((1, 1, 4), 9.0), torch.ones(1, 9, 4)], dim=1)
    larger = resized_positions(table, tokens=37, first=1)
    assert torch.equal(larger[:, 0], table[:, 0])
    torch.testing.assert_close(larger[:, 1:], torch.ones(1, 36, 4))
    assert resized_positions(table, tokens=10, first=1) is table


@pytest.mark.parametrize("number", [0, 1])
def test_a_key_that_is_missing_or_unknown_is_named(number: int) -> None:
    network: Any = Vit(VIT) if number == 0 else ConvVit(CONV)
    victim = "blocks.1.mlp.fc2.bias" if number == 0 else "blocks2.0.attn.bias"
    state = published(number)
    with pytest.raises(WeightsError, match="unexpected: extra"):
        load_encoder(network, state | {"extra": torch.ones(1)}, source="a")
    del state[victim]
    with pytest.raises(WeightsError, match=victim):
        load_encoder(network, state, source="a")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["encoder.pos_embed"], "whole segmentation network"),
        (["blocks.0.attn.relative_position_bias_table"], "BEiT"),
        (["conv1.weight"], "something else"),
    ],
)
def test_another_network_s_file_is_told_in_one_sentence(keys: list[str], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        is_convolutional({key: torch.ones(1) for key in keys}, source="other.pth")


def test_a_part_of_a_file_is_told() -> None:
    state = {name: value for name, value in published(1).items() if not name.startswith("blocks2.")}
    with pytest.raises(WeightsError, match="not a whole encoder"):
        config_of(state, source="a")


@pytest.mark.parametrize("number", [0, 1])
def test_every_parameter_is_in_one_layer(number: int) -> None:
    networks: list[Any] = [Vit(VIT, classes=2), Mae(VIT, decoder=PAINTER)]
    encoder: Any = VIT
    if number:
        networks, encoder = [ConvVit(CONV, classes=2), ConvMae(CONV, decoder=PAINTER)], CONV
    networks.append(Segmenter(SegmenterConfig(encoder=encoder, widths=(8, 8, 8, 8), blocks=(0, 1, 2, 3))))
    for network in networks:
        layers = layers_of(network)
        names = [name for name, _ in network.named_parameters()]
        assert sorted(name for layer in layers for name in layer) == sorted(names)
        assert len(layers) == (6 if number == 0 else 4)
        ends = {name.rpartition(".")[2] for name in undecayed_of(network)}
        assert ends <= {"cls_token", "pos_embed", "decoder_pos_embed"}


@pytest.mark.parametrize(("card", "number"), [("deblurmim", 0), ("deblurmim-conv", 1)])
def test_a_published_checkpoint_is_loaded_whole(tmp_path: Path, card: str, number: int) -> None:
    path = checkpoint(tmp_path / "checkpoint-799.pth", number)
    with pytest.warns(WeightsWarning, match="blur=none"):
        session = omlab.load_model(card, weights=path, device="cpu")
    assert isinstance(session.model, DeblurMimModel)
    held = session.model.module.state_dict()
    state = read_state_dict(path, wrapper="model")
    assert held.keys() == state.keys()
    assert all(torch.equal(held[name], value) for name, value in state.items())
    sharp = omlab.load_model(card, weights=path, device="cpu", settings={"blur": "none"})
    image = omlab_image(20)
    assert not np.allclose(vector(session, image), vector(sharp, image))


def test_the_other_encoder_s_file_is_told(tmp_path: Path) -> None:
    for card, number, other in (("deblurmim", 1, "deblurmim-conv"), ("deblurmim-conv", 0, "deblurmim")):
        path = checkpoint(tmp_path / f"{number}.pth", number)
        with pytest.raises(WeightsError, match=rf"load it as {other}\."):
            omlab.load_model(card, weights=path, device="cpu", settings={"blur": "none"})


def test_a_pickled_segmenter_is_read_and_converted(tmp_path: Path) -> None:
    """Wrapped in DataParallel, with its indices, as upstream saves it."""
    encoder = ConvConfig(image_size=64, widths=(8, 12, 64), depths=(1, 1, 1), heads=1)
    config = SegmenterConfig(encoder=encoder, widths=(8, 8, 8, 8))
    network = drawn(with_published_buffers(Segmenter(config)))
    torch.save(nn.DataParallel(network), tmp_path / "net.pt")
    count = convert(tmp_path / "net.pt", tmp_path / "net.safetensors")
    state = read_state_dict(tmp_path / "net.safetensors")
    assert len(state) == count
    assert not any("index" in name for name in state)
    other = Segmenter(config)
    load_segmenter(other, state, source="net.safetensors")
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in other.state_dict().items())


def omlab_image(size: int) -> Any:
    from omlab_image import Image

    return Image(array=np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8))


def vector(session: Any, image: Any) -> Any:
    return session.embed(image).vector
