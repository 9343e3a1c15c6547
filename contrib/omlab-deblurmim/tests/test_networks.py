"""The networks: published sizes, masks, patches, and that training reaches every parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from omlab_deblurmim.autoencoder import ConvMae, DecoderConfig, Mae, MaskedAutoencoder
from omlab_deblurmim.convvit import ConvBlock, ConvConfig, ConvVit
from omlab_deblurmim.losses import mask_loss, with_background
from omlab_deblurmim.metrics import image_figures
from omlab_deblurmim.segmentation import CONV_EPS, Segmenter, SegmenterConfig
from omlab_deblurmim.vit import Vit, VitConfig
from omlab_image.patches import draw_mask, patches_of

VIT = VitConfig(image_size=32, patch_size=8, width=24, depth=4, heads=2)
CONV = ConvConfig(image_size=32, patches=(4, 2, 1), widths=(8, 12, 24), depths=(1, 1, 2), heads=2)
PAINTER = DecoderConfig(width=16, depth=1, heads=2)


def images(count: int = 2, *, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: Mae(VitConfig(), decoder=DecoderConfig()), 111_907_840),
        (lambda: Mae(VitConfig(patch_size=8), decoder=DecoderConfig()), 111_922_624),
        (lambda: ConvMae(ConvConfig(), decoder=DecoderConfig()), 115_041_408),
        (
            lambda: ConvMae(
                ConvConfig(widths=(384, 768, 1024), depths=(2, 2, 23), heads=16, mlp_ratios=(8.0, 8.0, 4.0)),
                decoder=DecoderConfig(mlp_ratio=8.0),
            ),
            374_424_960,
        ),
        (lambda: Vit(VitConfig(), classes=2), 85_800_194),
        (lambda: ConvVit(ConvConfig(), classes=2), 84_607_362),
        (lambda: Segmenter(SegmenterConfig()), 107_160_997),
        (lambda: Segmenter(SegmenterConfig(encoder=VitConfig(image_size=512), form="unet")), 100_143_841),
    ],
)
def test_published_sizes(make: Any, wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters as counted on upstream's networks."""
    monkeypatch.setattr(torch.Tensor, "copy_", lambda self, *_, **__: self)  # nothing is drawn on the meta device
    with torch.device("meta"):
        made: nn.Module = make()
    assert sum(parameter.numel() for parameter in made.parameters()) == wanted


def autoencoders() -> list[MaskedAutoencoder]:
    torch.manual_seed(0)
    return [Mae(VIT, decoder=PAINTER), ConvMae(CONV, decoder=PAINTER)]


@pytest.mark.parametrize("number", [0, 1])
def test_removed_patches_are_not_seen(number: int) -> None:
    """What is encoded does not depend on what is in them."""
    module = autoencoders()[number].eval()
    masking = draw_mask(torch.rand(2, module.grid**2, generator=generator()), ratio=0.75)
    image, other = images(), images()
    patch = module.patch
    removed = masking.mask.view(2, module.grid, module.grid).repeat_interleave(patch, 1).repeat_interleave(patch, 2)
    other = torch.where(removed[:, None].bool(), 9.0, other)
    with torch.no_grad():
        torch.testing.assert_close(module.encode(image, masking), module.encode(other, masking))


@pytest.mark.parametrize("number", [0, 1])
def test_deblurring_counts_seen_patches_too(number: int) -> None:
    module = autoencoders()[number].eval()
    image = images()
    with torch.no_grad():
        masking = draw_mask(torch.rand(2, module.grid**2, generator=generator()), ratio=module.ratio)
        painted = module.decode(module.encode(image, masking), masking)
        errors = (painted - patches_of(image, patch=module.patch)).square().mean(dim=-1)
        blurred, _ = module({"image": image, "sharp": image}, generator())
        plain, _ = module(image, generator())
    torch.testing.assert_close(blurred, errors.mean())
    torch.testing.assert_close(plain, (errors * masking.mask).sum() / masking.mask.sum())


@pytest.mark.parametrize("number", [0, 1])
def test_training_reaches_every_parameter(number: int) -> None:
    module = autoencoders()[number].train()
    loss, _ = module({"image": images(), "sharp": images()}, generator())
    loss.backward()
    learning = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in learning.items() if parameter.grad is None] == []
    assert sorted(module.state_dict().keys() - learning.keys()) == ["decoder_pos_embed", "pos_embed"]


def segmenters() -> list[Segmenter]:
    torch.manual_seed(0)
    conv = ConvConfig(image_size=64, widths=(8, 12, 24), depths=(1, 1, 2), heads=2, eps=CONV_EPS)
    vit = VitConfig(image_size=64, width=24, depth=4, heads=2)
    widths = (16, 12, 8, 8)
    return [
        Segmenter(SegmenterConfig(encoder=encoder, form=form, widths=widths, classes=2, blocks=(0, 1, 2, 3)))
        for encoder in (conv, vit)
        for form in ("unet++", "unet")
    ]


@pytest.mark.parametrize("number", range(4))
def test_masks_have_half_the_side(number: int) -> None:
    module = segmenters()[number].train()
    logits = module(images(2, size=64))
    assert tuple(logits.shape) == (2, 2, 32, 32)
    mask_loss(logits, torch.randint(0, 3, (2, 64, 64))).backward()  # type: ignore[no-untyped-call]
    assert [name for name, parameter in module.named_parameters() if parameter.grad is None] == []


def test_a_block_without_a_mask_sees_all() -> None:
    block = ConvBlock(8, ratio=2.0, eps=1e-5, drop_path=0.0).eval()
    x, seen = torch.randn(1, 8, 6, 6), torch.ones(1, 1, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(block(x), block(x, seen))
        seen[..., 0, 0] = 0
        assert not torch.allclose(block(x), block(x, seen))


def test_the_right_mask_costs_nothing() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[:, :4, :4] = 2
    right = torch.full((1, 2, 4, 4), -30.0)
    right[:, 1, :2, :2] = 30
    assert mask_loss(right, labels) < 1e-5
    assert mask_loss(-right, labels) > 0.4
    assert with_background(right).argmax(dim=1)[0].tolist() == [[2, 2, 0, 0]] * 2 + [[0] * 4] * 2


def test_an_empty_mask_has_figures() -> None:
    """As upstream: one true positive, and the pixel (0, 0)."""
    truth = np.zeros((5, 5), bool)
    truth[0, 3] = True
    found = image_figures(np.zeros((5, 5)), truth)
    assert found["iou"] == pytest.approx(0.5)
    assert found["hd95"] == 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VitConfig(image_size=30), "patches"),
        (lambda: VitConfig(width=25, heads=2), "heads"),
        (lambda: ConvConfig(image_size=40), "patches"),
        (lambda: ConvConfig(depths=(0, 1, 1)), "at least 1"),
        (lambda: SegmenterConfig(widths=(8, 8)), "four widths"),
        (lambda: Segmenter(SegmenterConfig(encoder=VIT, blocks=(0, 1, 2, 4))), "blocks"),
    ],
)
def test_what_cannot_be_is_said(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
