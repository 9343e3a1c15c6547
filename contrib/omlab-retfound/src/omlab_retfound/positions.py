"""Tables of positions: the fixed one of masked autoencoders, and how a table is resized for images of another size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_BASE = 10000.0


def sincos_table(width: int, *, grid: int, class_token: bool = True) -> Tensor:
    """The fixed table of He et al. (Masked Autoencoders, 2022): (grid^2, or one more in front, width), float64.

    The first half of the width tells the column, the second the row; within a half come the sines, then the cosines,
    of position * 10000^(-k / (width / 4)), k = 0, 1, .... The row of a class token is zero.

    Raises `ValueError` where `width` is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"A width of {width} cannot be divided into sines and cosines of two axes.")
    rates = _BASE ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * rates  # (grid, width / 4)
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = axis.repeat(grid, 1)  # the column changes fastest
    rows = axis.repeat_interleave(grid, dim=0)
    table = torch.cat([columns, rows], dim=1)
    return torch.cat([table.new_zeros(1, width), table]) if class_token else table


def resized_table(table: Tensor, *, grid: int, prefix: int = 1) -> Tensor:
    """A table (1, prefix + old^2, D) for `grid`^2 patches, as upstream resizes it: bicubic, without antialiasing.

    timm's own `resample_abs_pos_embed` antialiases and gives other numbers. Rows of the prefix (a class token's) stay.
    """
    old = round((table.shape[1] - prefix) ** 0.5)
    if prefix + old * old != table.shape[1]:
        raise ValueError(f"{table.shape[1]} positions are no square of patches and {prefix} in front.")
    if old == grid:
        return table
    kept, patches = table[:, :prefix], table[:, prefix:]
    image = patches.float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    image = functional.interpolate(image, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([kept, image.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)], dim=1)
