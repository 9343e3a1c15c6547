"""How a table of positions is resized for images of another size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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
