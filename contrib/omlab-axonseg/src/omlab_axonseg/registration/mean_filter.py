"""The mean over a cube around each voxel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def mean_filter(x: Tensor, *, size: int) -> Tensor:
    """Mean over cubes of `size` (odd) voxels a side of (B, C, D, H, W), zeros outside, each channel for itself.

    One axis after the other: 3 size additions a voxel where a convolution does size^3 products (45 and 3375 for 15).

    Raises:
        ValueError: `size` is even or below 1.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"A mean filter has an odd number of voxels a side, not {size}.")
    for axis in range(3):
        window = [size if one == axis else 1 for one in range(3)]
        x = functional.avg_pool3d(x, window, stride=1, padding=[n // 2 for n in window])
    return x
