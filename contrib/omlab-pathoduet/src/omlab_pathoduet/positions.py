"""The fixed table of positions."""

from __future__ import annotations

import torch
from torch import Tensor

_BASE = 10000.0
PREFIX = 2
"""Tokens before the patches, whose rows are zero: the pretext token, then the class token."""


def sincos_table(width: int, *, grid: int, prefix: int = PREFIX) -> Tensor:
    """Sines and cosines of the places of patches: (prefix + grid^2, width), float64.

    With w_k = 10000^(-k / q), k = 0, ..., q - 1, q = width / 4, the patch in row r and column c (the faster one) has
    [sin(r w), cos(r w), sin(c w), cos(c w)]: PathoDuet's order of the axes; MoCo v3 is written about with the other.

    Raises `ValueError` where `width` is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"A width of {width} cannot be divided into sines and cosines of two axes.")
    rates = _BASE ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * rates
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width / 2)
    rows, columns = axis.repeat_interleave(grid, dim=0), axis.repeat(grid, 1)
    table = torch.cat([rows, columns], dim=1)
    return torch.cat([table.new_zeros(prefix, width), table])
