"""Which patches are seen, where they lie, and that nothing is lost between images and patches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_image.patches import draw_mask, gathered, images_of, patches_of, sincos_table


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 40), ratio=st.floats(0, 0.99))
def test_masks_keep_what_they_say(count: int, ratio: float) -> None:
    noise = torch.rand(3, count, generator=torch.Generator().manual_seed(0))
    masking = draw_mask(noise, ratio=ratio)
    kept = int(count * (1 - ratio))
    assert masking.kept.shape == (3, kept)
    assert (masking.mask == 0).sum(dim=1).tolist() == [kept] * 3
    assert (masking.mask.gather(1, masking.kept) == 0).all()
    tokens = torch.arange(3.0 * count * 2).reshape(3, count, 2)
    removed = noise.argsort(dim=1)[:, kept:]
    both = torch.cat([gathered(tokens, masking.kept), gathered(tokens, removed)], dim=1)
    assert torch.equal(gathered(both, masking.restore), tokens)


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"is 1\.0, but must be at least 0 and below 1"):
        draw_mask(torch.zeros(1, 4), ratio=1.0)


def test_positions_tell_the_column_and_then_the_row() -> None:
    table = sincos_table(8, grid=3, prefix=1)
    assert not table[0].any()
    patches = table[1:].reshape(3, 3, 8)
    assert torch.equal(patches[0, :, :4], patches[2, :, :4])
    assert torch.equal(patches[:, 0, 4:], patches[:, 2, 4:])
    assert not torch.equal(patches[:, 0, :4], patches[:, 1, :4])
    with pytest.raises(ValueError, match="6 cannot be divided"):
        sincos_table(6, grid=2, prefix=0)


def test_patches_become_the_image_again() -> None:
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    patches = patches_of(images, patch=8)
    assert torch.equal(patches[0, 1].reshape(8, 8, 3), images[0, :, :8, 8:16].permute(1, 2, 0))
    assert torch.equal(images_of(patches, patch=8), images)
    with pytest.raises(ValueError, match="no patches"):
        images_of(torch.zeros(1, 5, 12), patch=2)
