"""Frequency bands and pixel blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_usfm.masking import Bands, Blocks, band_stopped, chosen, masked_error, mean_filled, spectrum_error


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@settings(max_examples=20, deadline=None)
@given(size=st.integers(9, 40), share=st.floats(0, 1))
def test_one_real_transform_is_the_whole_one(size: int, share: float) -> None:
    bands = Bands(size=size, first=2, protected=1, growth=0.5, most=4)
    rings = chosen(len(bands), share=share, batch=1, generator=torch.Generator().manual_seed(1))
    assert rings.sum() == int(share * len(bands))
    keep = bands.without(rings)
    image = images(2, 3, size, size).double()
    spectrum = torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1)) * keep
    whole = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).abs()
    torch.testing.assert_close(band_stopped(image, keep.double()), whole)


def test_the_mean_is_protected() -> None:
    bands = Bands(size=32)
    keep = bands.without(torch.ones(len(bands)))
    assert keep[16, 16] == 1
    torch.testing.assert_close(band_stopped(torch.full((1, 32, 32), 0.25), keep), torch.full((1, 32, 32), 0.25))


@pytest.mark.parametrize("wrong", [{"protected": 5}, {"growth": 0.1}, {"most": 0}, {"protected": -1}])
def test_bands_that_do_not_grow_are_refused(wrong: dict[str, Any]) -> None:
    """Upstream never ends, or cancels the mean, with these."""
    with pytest.raises(ValueError, match="radius"):
        Bands(size=64, **wrong)


def test_blocks_cover_their_share() -> None:
    blocks = Blocks(size=64, block=16, patch=8, share=0.6)
    mask = blocks.drawn(1, torch.Generator().manual_seed(0))[0]
    assert tuple(mask.shape) == (8, 8)
    assert mask.sum() == 4 * 10
    squares = mask.view(4, 2, 4, 2)
    assert torch.equal(squares.amin(dim=(1, 3)), squares.amax(dim=(1, 3)))


@pytest.mark.parametrize("wrong", [{"size": 60}, {"block": 20}, {"patch": 5}, {"share": 1.5}])
def test_blocks_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"px|share"):
        Blocks(**({"size": 64, "block": 16, "patch": 8} | wrong))


def test_masked_patches_hold_the_mean_and_errors_look_at_them_alone() -> None:
    image, mask = images(2, 3, 16, 16), torch.zeros(2, 4, 4)
    mask[:, 1, 2] = 1
    filled = mean_filled(image, mask)
    assert torch.equal(filled[..., 4:8, 8:12], image.mean(dim=(-2, -1), keepdim=True).expand(2, 3, 4, 4))
    changed = filled.clone()
    changed[..., 4:8, 8:12] = image[..., 4:8, 8:12]
    assert torch.equal(changed, image)
    assert masked_error(changed, image, mask) == 0
    torch.testing.assert_close(masked_error(image + 2, image, mask), torch.tensor(2.0))
    assert masked_error(image + 2, image, torch.zeros(2, 4, 4)) == 0


def test_the_spectrum_sees_what_is_missing() -> None:
    image = images(1, 1, 16, 16)
    assert spectrum_error(image, image) == 0
    bands = Bands(size=16, first=2, protected=1, growth=0.5)
    assert spectrum_error(band_stopped(image, bands.without(torch.ones(len(bands)))), image) > 0.01
