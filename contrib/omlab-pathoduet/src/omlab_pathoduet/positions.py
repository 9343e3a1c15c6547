"""The fixed table of positions."""

from __future__ import annotations

import torch
from torch import Tensor

from omlab_image import patches

PREFIX = 2
"""Tokens before the patches, whose rows are zero: the pretext token, then the class token."""


def sincos_table(width: int, *, grid: int, prefix: int = PREFIX) -> Tensor:
    """Sines and cosines of the places of patches: (prefix + grid^2, width), float64.

    With w_k = 10000^(-k / q), k = 0, ..., q - 1, q = width / 4, the patch in row r and column c (the faster one) has
    [sin(r w), cos(r w), sin(c w), cos(c w)]: PathoDuet's order of the axes; MoCo v3 is written about with the other.

    Raises `ValueError` where `width` is no multiple of 4.
    """
    columns, rows = patches.sincos_table(width, grid=grid, prefix=prefix).chunk(2, dim=1)
    return torch.cat([rows, columns], dim=1)
