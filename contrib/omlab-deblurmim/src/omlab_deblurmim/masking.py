"""What masked autoencoders share: which patches are seen, where they are, and images as patches and back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Masking(NamedTuple):
    """Which of L patches are seen, for each image of a batch."""

    kept: Tensor
    """(B, K) int64: numbers of the kept patches."""
    restore: Tensor
    """(B, L) int64: the place of each patch where the kept ones come first and the removed ones next."""
    mask: Tensor
    """(B, L) float32: 1 for removed patches."""


def draw_mask(noise: Tensor, *, ratio: float) -> Masking:
    """The patches with the smallest of their uniform draws (B, L) are kept: int(L (1 - ratio)) of each image."""
    if not 0 <= ratio < 1:
        raise ValueError(f"The share of removed patches is {ratio}, but must be at least 0 and below 1.")
    L = noise.shape[1]
    kept = int(L * (1 - ratio))
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    return Masking(kept=order[:, :kept], restore=restore, mask=(restore >= kept).float())


def gathered(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Tokens (B, L, D) at (B, K) numbers: (B, K, D)."""
    return tokens.gather(1, numbers.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def sincos_table(width: int, *, grid: int, class_token: bool) -> Tensor:
    """(1, L, width) float32: the fixed positions of a `grid` x `grid` of patches, after a row of zeros if asked.

    The first half of a row tells x, the second y, each by sines, then cosines of width / 4 frequencies from 1 down to
    about 1 / 10000. Source: He et al., Masked autoencoders, CVPR 2022.
    """
    if width % 4:
        raise ValueError(f"A table of positions has a width that is a multiple of 4, not {width}.")
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    along = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width / 2)
    rows = torch.cat([along.repeat(grid, 1), along.repeat_interleave(grid, dim=0)], dim=1)
    if class_token:
        rows = torch.cat([rows.new_zeros(1, width), rows])
    return rows.float()[None]


def patches_of(image: Tensor, *, patch: int) -> Tensor:
    """Images (B, C, S, S) as patches (B, L, patch^2 C), row by row, the channel running fastest."""
    B, C, H, W = image.shape
    cut = image.reshape(B, C, H // patch, patch, W // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, patch * patch * C)


def image_of(patches: Tensor, *, patch: int) -> Tensor:
    """The images (B, C, S, S) that `patches_of` made patches (B, L, patch^2 C) of."""
    B, L, values = patches.shape
    side, channels = round(L**0.5), values // patch**2
    if side**2 != L or channels * patch**2 != values:
        raise ValueError(f"{tuple(patches.shape)} are no patches of {patch} px of square images.")
    cut = patches.reshape(B, side, side, patch, patch, channels)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(B, channels, side * patch, side * patch)
