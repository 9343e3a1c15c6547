"""The networks: their sizes, forms, the rules of the pretext token, and what a task moves and what it leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from omlab_pathoduet.moco import CrossScale, CrossStain, Moco
from omlab_pathoduet.model import TINY
from omlab_pathoduet.multistain import DecoderConfig, MultiStain
from omlab_pathoduet.retarget import Plan
from omlab_pathoduet.vit import NETWORKS, PathoVit, VitConfig, untrained

SMALL = TINY.vit
IMAGES = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
REFERENCES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "parameters", "learning"),
    [
        ("vit_base", 85_800_192, 85_648_128),
        ("vit_small", 21_666_432, 21_590_400),
        ("vit_conv_base", 82_201_440, 82_049_376),
        ("vit_conv_small", 20_618_160, 20_542_128),
    ],
)
def test_networks_have_the_published_sizes(name: str, parameters: int, learning: int) -> None:
    with torch.device("meta"):
        network = PathoVit(NETWORKS[name])
    assert sum(one.numel() for one in network.parameters()) == parameters
    assert sum(one.numel() for one in network.parameters() if one.requires_grad) == learning


def test_the_tasks_have_the_published_sizes() -> None:
    with torch.device("meta"):
        scale: Any = Plan(kind="cross-scale").build()
        stains = MultiStain(VitConfig(), decoder=DecoderConfig())
    assert sum(one.numel() for one in scale.parameters()) == 219_638_272
    learning = [
        one for name, one in scale.named_parameters() if one.requires_grad and not name.startswith("momentum_encoder.")
    ]
    assert sum(one.numel() for one in learning) == 112_107_520
    assert sum(one.numel() for one in stains.parameters()) == 201_204_480


def test_the_average_form_leaves_out_what_is_no_patch_and_the_token_form_takes_the_class() -> None:
    average = untrained(SMALL)
    tokens = average.tokens(IMAGES)
    other = tokens.clone()
    other[:, :2] += 1
    assert torch.equal(average.pooled(other), average.pooled(tokens))
    other[:, 2, 0] += 1
    assert not torch.allclose(average.pooled(other), average.pooled(tokens))
    token = untrained(replace(SMALL, pool="token"))
    tokens = token.tokens(IMAGES)
    assert torch.equal(token.features(IMAGES), tokens[:, 1])
    torch.testing.assert_close(tokens.mean(dim=2), torch.zeros(4, 18), atol=1e-5, rtol=0)
    assert {"norm.weight", "norm.bias"} <= token.state_dict().keys()
    assert "fc_norm.weight" not in token.state_dict()


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_a_reference_of_several_patches_is_averaged_into_the_pretext_token(stem: Any) -> None:
    network = untrained(replace(SMALL, stem=stem))
    wide = REFERENCES.repeat(1, 1, 2, 2)
    token = network.pretext_of(wide)
    assert token.shape == (4, 1, 64)
    if stem == "patch":
        torch.testing.assert_close(token, network.pretext_of(REFERENCES))
    embedded = network.embedded(IMAGES, wide)
    torch.testing.assert_close(embedded[:, :1], token)
    assert torch.equal(embedded[:, 1:], network.embedded(IMAGES)[:, 1:])
    with pytest.raises(ValueError, match="whole patches of 16"):
        network.pretext_of(torch.zeros(1, 3, 20, 16))


def test_a_learned_pretext_token_has_no_gradient_where_a_reference_is_given() -> None:
    network = untrained(SMALL)
    network.features(IMAGES, REFERENCES).square().sum().backward()
    assert network.pretext_token.grad is None
    network.features(IMAGES).square().sum().backward()
    assert network.pretext_token.grad is not None


def task(kind: Any) -> Any:
    return replace(TINY, kind=kind).drawn(seed=0).train()


VIEWS = {
    "first": IMAGES, "second": 1 - IMAGES, "reference": REFERENCES, "region": IMAGES.flip(3), "he": IMAGES,
    "ihc": 1 - IMAGES, "stain": REFERENCES,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["moco", "cross-scale"])
def test_the_momentum_encoder_follows_while_it_is_trained(kind: str) -> None:
    network = task(kind)
    assert isinstance(network, CrossScale if kind == "cross-scale" else Moco)
    name = "blocks.0.attn.qkv.weight"
    with torch.no_grad():
        network.base_encoder.get_parameter(name).add_(1)
    own = network.momentum_encoder.get_parameter(name).clone()
    base = network.base_encoder.get_parameter(name)
    network(VIEWS, momentum=0.75)
    torch.testing.assert_close(network.momentum_encoder.get_parameter(name), 0.75 * own + 0.25 * base)
    table = network.base_encoder.pos_embed
    assert torch.equal(network.momentum_encoder.pos_embed, table)
    network.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network(VIEWS, momentum=0.75)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_the_teacher_of_stains_never_learns_but_its_norms_see_batches() -> None:
    network = task("cross-stain")
    assert isinstance(network, CrossStain)
    before = {key: value.clone() for key, value in network.momentum_encoder.state_dict().items()}
    network(VIEWS, momentum=0.0)[0].backward()
    after = network.momentum_encoder.state_dict()
    assert all(
        torch.equal(after[key], value) for key, value in before.items() if "running" not in key and "num" not in key
    )
    assert not torch.equal(after["head.1.running_mean"], before["head.1.running_mean"])
    assert all(one.grad is None for one in network.momentum_encoder.parameters())


def test_the_stem_of_patches_is_frozen_in_the_tasks_and_that_of_convolutions_learns() -> None:
    network: Any = task("moco")
    assert not any(one.requires_grad for one in network.base_encoder.patch_embed.parameters())
    conv: Any = replace(TINY, kind="moco", vit=replace(TINY.vit, stem="conv")).drawn(seed=0)
    assert all(one.requires_grad for one in conv.base_encoder.patch_embed.parameters())


def test_a_seed_gives_the_same_network_and_leaves_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    first, second, other = untrained(SMALL, seed=1), untrained(SMALL, seed=1), untrained(SMALL, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    name = "blocks.0.attn.qkv.weight"
    assert torch.equal(first.get_parameter(name), second.get_parameter(name))
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))
    assert first.get_parameter(name).abs().max() <= (6 / 128) ** 0.5
