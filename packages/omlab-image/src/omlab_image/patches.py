"""Patches of square images, as masked autoencoders have them: which are seen, where they lie, cut out and put back.

Source: He et al., Masked autoencoders are scalable vision learners, CVPR 2022.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_BASE = 10000.0


class Masking(NamedTuple):
    """Which of L patches are seen, for each image of a batch."""

    kept: Tensor
    """(B, K) int64: numbers of the kept patches, those of the smallest draws first."""
    restore: Tensor
    """(B, L) int64: the place of each patch where the kept ones come first and the removed ones next."""
    mask: Tensor
    """(B, L): 1 for removed patches."""


def draw_mask(noise: Tensor, *, ratio: float) -> Masking:
    """The patches with the smallest of their uniform draws (B, L) are kept: int(L (1 - ratio)) of each image."""
    if not 0 <= ratio < 1:
        raise ValueError(f"The share of removed patches is {ratio}, but must be at least 0 and below 1.")
    L = noise.shape[1]
    count = int(L * (1 - ratio))
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    return Masking(kept=order[:, :count], restore=restore, mask=(restore >= count).to(noise.dtype))


def gathered(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Tokens (B, L, D) at (B, K) numbers: (B, K, D)."""
    return tokens.gather(1, numbers[:, :, None].expand(-1, -1, tokens.shape[2]))


def sincos_table(width: int, *, grid: int, prefix: int) -> Tensor:
    """The fixed table of positions of a `grid` x `grid` of patches: (prefix + grid^2, width), float64.

    The first half of the width tells the column, which changes fastest, the second the row; within a half come the
    sines, then the cosines, of position * 10000^(-k / (width / 4)), k = 0, 1, .... The `prefix` rows in front, of a
    class token and the like, are zero.

    Raises:
        ValueError: `width` is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"A width of {width} cannot be divided into sines and cosines of two axes.")
    rates = _BASE ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * rates  # (grid, width / 4)
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns, rows = axis.repeat(grid, 1), axis.repeat_interleave(grid, dim=0)
    return torch.cat([axis.new_zeros(prefix, width), torch.cat([columns, rows], dim=1)])


def patches_of(images: Tensor, *, patch: int) -> Tensor:
    """Images (B, C, S, S) as patches (B, L, patch^2 C), row by row, the channel running fastest."""
    B, C, H, W = images.shape
    cut = images.reshape(B, C, H // patch, patch, W // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, patch * patch * C)


def images_of(patches: Tensor, *, patch: int) -> Tensor:
    """The images (B, C, S, S) that `patches_of` made patches (B, L, patch^2 C) of.

    Raises:
        ValueError: They are no patches of such images.
    """
    B, L, values = patches.shape
    side, channels = round(L**0.5), values // patch**2
    if side**2 != L or channels * patch**2 != values:
        raise ValueError(f"{tuple(patches.shape)} are no patches of {patch} px of square images.")
    cut = patches.reshape(B, side, side, patch, patch, channels)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(B, channels, side * patch, side * patch)
