"""Where a registered volume is sampled: the two conventions of the published networks, which their weights need.

The base grid is made with corners not aligned, and sampled with corners aligned. So even no displacement at all shrinks
coordinates by (n - 1) / n about the middle. Grids are then clipped to the volume. Both are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def affine_grid(matrix: Tensor, *, sizes: Sequence[int]) -> Tensor:
    """Coordinates (B, D, H, W, 3), x, y, z from -1 to 1, of matrices (B, 3, 4); not clipped."""
    return functional.affine_grid(matrix, [len(matrix), 1, *sizes], align_corners=False)


def identity_grid(*, sizes: Sequence[int], like: Tensor) -> Tensor:
    """The grid (1, D, H, W, 3) of no motion."""
    return affine_grid(torch.eye(3, 4, device=like.device, dtype=like.dtype)[None], sizes=sizes)


def warp(volume: Tensor, grid: Tensor, *, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """`volume` (B, C, D', H', W') at the places of `grid` (B, D, H, W, 3), which are brought inside it."""
    return functional.grid_sample(volume, grid.clamp(-1, 1), mode=mode, align_corners=True)


def outside_share(grid: Tensor) -> float:
    """Share of the places of a grid that lie outside the volume, and are taken from its border."""
    return float((grid.abs() > 1).any(dim=-1).double().mean())
