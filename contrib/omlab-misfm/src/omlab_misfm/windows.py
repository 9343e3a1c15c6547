"""PyMIC's sliding windows: whole strides from 0, clipped at the end, blended by a Gaussian without a floor.

Source: PyMIC 0.5 (fact sheet of MIS-FM, 7). The last strides may be clipped to the same place; such a window weighs as
often as it comes there (`omlab_volume.inference.windows.Tiling`) and is predicted once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from omlab_volume.inference.windows import Tiling

IN_PLANE = (1, 2)
"""The axes (of z, y, x) that are flipped for the mean of four."""


def starts_of(size: int, window: int, *, stride: int) -> list[int]:
    """First voxels of the windows along an axis."""
    return [min(start, size - window) for start in range(0, size, stride)]


def importance(window: Sequence[int]) -> Tensor:
    """Weight of each voxel of a window: a Gaussian with sigma = window / 8 about voxel window // 2, not normalised."""
    weights = torch.ones(())
    for size in window:
        places = torch.arange(size, dtype=torch.float64) - size // 2
        weights = weights[..., None] * torch.exp(-0.5 * (places / (size / 8)) ** 2)
    return weights.float()


def tiling(*, stride: Sequence[int]) -> Tiling:
    """Windows at multiples of `stride` (z, y, x)."""
    return Tiling(starts=partial(_all_starts, stride=tuple(stride)), importance=importance)


def strides_of(window: Sequence[int], step: float) -> tuple[int, ...]:
    """The strides of windows that are `step` windows apart, at least a voxel."""
    return tuple(max(1, int(size * step)) for size in window)


def mean_of_flips(scores: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """The mean of `scores` of an image (C, D, H, W) as it is and flipped within slices: PyMIC's first augmentation."""
    flips = [chosen for count in range(3) for chosen in itertools.combinations([axis + 1 for axis in IN_PLANE], count)]
    return torch.stack([scores(image.flip(flip)).flip(flip) for flip in flips]).mean(0)


def _all_starts(size: Sequence[int], window: Sequence[int], *, stride: tuple[int, ...]) -> list[list[int]]:
    return [starts_of(n, patch, stride=step) for n, patch, step in zip(size, window, stride, strict=True)]
