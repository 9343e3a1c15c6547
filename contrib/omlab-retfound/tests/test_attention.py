"""Where a network looks: its own attention, followed through the blocks, and drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab_image import Image
from omlab_retfound.attention import attention_of, drawn_over, heat, rollout
from omlab_retfound.mae import DecoderConfig, untrained_autoencoder
from omlab_retfound.vit import VitConfig, untrained

SMALL = VitConfig(size=64, patch=16, width=64, depth=2, heads=2)


def test_it_is_the_attention_that_the_block_itself_has() -> None:
    network = untrained(replace(SMALL, form="green"))
    x = network.embedded(torch.randn(2, 3, 64, 64))
    block: Any = network.blocks[0]
    values = block.attn.qkv(block.norm1(x)).unflatten(2, (3, 2, 32))[:, :, 2].transpose(1, 2)
    found = attention_of(block, x) @ values
    wanted = block.attn(block.norm1(x))
    torch.testing.assert_close(block.attn.proj(found.transpose(1, 2).flatten(2)), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pool", ["avg", "token"])
def test_a_patch_that_all_tokens_attend_to_is_the_hottest(pool: Any) -> None:
    network: Any = untrained(replace(SMALL, pool=pool, depth=1, heads=1))
    marked = 6  # the third patch of the second row
    with torch.no_grad():
        for parameter in (network.cls_token, network.pos_embed, *network.blocks[0].attn.qkv.parameters()):
            parameter.zero_()
        network.pos_embed[0, 1 + marked, 0] = 100
        qkv = network.blocks[0].attn.qkv
        qkv.bias[0] = 10  # every query asks for the first number of keys
        qkv.weight[64, 0] = 10
        found = rollout(network, torch.zeros(1, 3, 64, 64))[0]
    assert found.shape == (4, 4)
    assert found.flatten().argmax() == marked
    assert found.flatten()[marked] > 0.45


def test_encoder_and_autoencoder_look_alike() -> None:
    whole = untrained_autoencoder(SMALL, decoder=DecoderConfig(width=32, depth=1, heads=1))
    encoder = untrained(SMALL)
    encoder.load_state_dict(whole.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(rollout(encoder, images), rollout(whole, images))
        assert (rollout(whole, images).flatten(1).sum(1) < 1).all(), "the rest is the class token's"


def test_the_picture_is_what_is_seen_and_hot_where_it_is_looked_at() -> None:
    patches = torch.zeros(4, 4)
    patches[1, 2] = 1
    hot = heat(patches, size=32)
    assert (hot.min(), hot.max()) == (0, 1)
    assert np.unravel_index(hot.argmax(), hot.shape)[0] in range(8, 16)
    drawn = drawn_over(torch.zeros(3, 32, 32), hot)
    assert drawn.shape == (32, 32, 3)
    assert drawn[12, 20].sum() > drawn[28, 4].sum()


def test_the_verb_gives_a_picture_or_a_map() -> None:
    session: Any = omlab.load_model("retfound-tiny")
    image = Image(array=np.random.default_rng(0).integers(0, 255, (80, 70, 3), dtype=np.uint8))
    assert session.explain(image).array.shape == (64, 64, 3)
    heat_alone = session.explain(image, form="map").array
    assert heat_alone.shape == (64, 64)
    assert heat_alone.dtype == np.float32
    assert heat_alone.max() == 1
