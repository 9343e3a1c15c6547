from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from omlab_sammed3d.network import VARIANTS, SamMed3d, SamMed3dConfig, untrained

SMALL = SamMed3dConfig(
    image_size=32,
    patch=8,
    width=24,
    depth=2,
    heads=3,
    global_blocks=(1,),
    window=3,
    prompt_width=48,
    point_embeddings=4,
)


@pytest.fixture(scope="module")
def network() -> SamMed3d:
    network = untrained(SMALL)
    for name, parameter in network.named_parameters():  # tables start at zero
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    return network.requires_grad_(False)


@pytest.mark.parametrize(
    ("variant", "total", "encoder"),
    [
        ("vit_b_ori", 100_509_232, 92_924_928),
        ("vit_b", 36_186_928, 28_602_624),
        ("vit_l", 322_786_864, 315_202_560),
        ("vit_h", 652_434_992, 644_850_688),
    ],
)
def test_variants_have_the_measured_parameters(variant: str, total: int, encoder: int) -> None:
    with torch.device("meta"):
        network = SamMed3d(VARIANTS[variant])
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert sum(parts.values()) == total
    assert parts == {"image_encoder": encoder, "prompt_encoder": 8_668, "mask_decoder": 7_575_636}


def test_the_published_variant_has_the_recorded_entries() -> None:
    case = json.loads((Path(__file__).parent / "golden" / "vit_b_ori_full_128.json").read_text())
    with torch.device("meta"):
        state = SamMed3d(VARIANTS["vit_b_ori"]).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == {row[0]: row[1] for row in case["state"]}
    assert len(state) == 324


def test_a_round_without_a_previous_mask_is_a_round_with_a_mask_of_zeros(network: SamMed3d) -> None:
    embedding = network.image_encoder(torch.randn(1, 1, 32, 32, 32))
    click = {"points": torch.tensor([[[3, 4, 5]]]), "labels": torch.tensor([[1]])}
    zeros = torch.zeros(1, 1, 16, 16, 16)
    assert torch.equal(network.decode(embedding, **click)[0], network.decode(embedding, **click, previous=zeros)[0])
    assert not torch.equal(
        network.decode(embedding, **click)[0], network.decode(embedding, **click, previous=zeros + 1)[0]
    )


def test_several_objects_on_one_image_are_those_of_one_at_a_time(network: SamMed3d) -> None:
    embedding = network.image_encoder(torch.randn(1, 1, 32, 32, 32))
    points = torch.randint(0, 32, (3, 2, 3))
    labels = torch.tensor([[1, 0], [1, -1], [0, 1]])
    together, ious = network.decode(embedding, points=points, labels=labels)
    for n in range(3):
        alone, iou = network.decode(embedding, points=points[n : n + 1], labels=labels[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ious[n : n + 1], iou, rtol=1e-4, atol=1e-5)


def test_shapes_of_masks_and_logits(network: SamMed3d) -> None:
    image = torch.randn(1, 1, 32, 32, 32)
    boxes = torch.tensor([[1.0, 2, 3, 20, 21, 22]])
    logits, ious = network.decode(network.image_encoder(image), boxes=boxes, multimask=True)
    assert logits.shape == (1, 3, 16, 16, 16)
    assert ious.shape == (1, 4)
    full = network(image, points=torch.tensor([[[1, 2, 3]]]), labels=torch.tensor([[1]]))
    assert full.shape == (1, 1, 32, 32, 32)


def test_gradients_reach_every_parameter_that_one_mask_needs() -> None:
    network = untrained(SMALL).train()
    image = torch.randn(1, 1, 32, 32, 32)
    click = {"points": torch.tensor([[[3, 4, 5]]]), "labels": torch.tensor([[1]])}
    embedding = network.image_encoder(image)
    first, _ = network.decode(embedding, **click)
    boxes = torch.tensor([[1.0, 2, 3, 20, 21, 22]])
    second, _ = network.decode(embedding, **click, boxes=boxes, previous=first)
    (second.square().sum() + first.square().sum()).backward()
    untouched = {name for name, p in network.named_parameters() if p.grad is None}
    assert all("no_mask_embed" in n or "iou_" in n or "hypernetworks_mlps." in n for n in untouched)
    assert not any("hypernetworks_mlps.0" in name for name in untouched)


def test_the_untrained_network_is_the_same_each_time() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first, second, other = untrained(SMALL), untrained(SMALL), untrained(SMALL, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    pairs = list(zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.mask_decoder.iou_token.weight, other.mask_decoder.iou_token.weight)


@pytest.mark.parametrize("shape", [(1, 1, 32, 32, 16), (1, 2, 32, 32, 32), (32, 32, 32)])
def test_an_image_that_does_not_fit_is_named(network: SamMed3d, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 1, 32, 32, 32\), not \("):
        network.image_encoder(torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"image_size": 100}, "100 is not a multiple of the patch size 16"),
        ({"width": 100, "heads": 3}, "100 is not a multiple of the 3 heads"),
        ({"prompt_width": 100}, "100 is not a multiple of 48"),
        ({"point_embeddings": 3}, "not 3"),
        ({"depth": 0}, "depth must be at least 1, not 0"),
        ({"rel_pos": "other"}, "not 'other'"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        SamMed3dConfig(**change)  # type: ignore[arg-type]


def test_the_decoder_is_the_same_for_every_variant() -> None:
    with torch.device("meta"):
        states = [SamMed3d(config).mask_decoder.state_dict() for config in VARIANTS.values()]
    for one, other in itertools.pairwise(states):
        assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in other.items()}
