"""From scores by patch to a raster: the mean score of the patches that lie over each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omlab.errors import InputError

N = TypeVar("N", np.int32, np.float64)

_MOST = 1 << 28
"""Pixels of a raster: 2 GiB of sums."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Raster:
    """Mean scores over a slide.

    Attributes:
        mean: (h, w) float64; NaN where no patch lies.
        count: (h, w) int32, how many patches lie there.
        downsample: Pixels of level 0 along a pixel, (x, y).
    """

    mean: NDArray[np.float64]
    count: NDArray[np.int32]
    downsample: tuple[float, float]

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(h, w), where a patch lies."""
        return self.count > 0


def raster(
    scores: ArrayLike,
    coords: ArrayLike,
    *,
    size0: int,
    downsample: float | tuple[float, float],
    canvas: tuple[int, int],
) -> Raster:
    """The mean of the scores of all patches over each pixel.

    Corners and side are brought to the raster's pixels by rounding up, as CLAM's heat maps are. The sum over each patch
    is entered at its four corners alone and integrated once, so that the time is that of patches plus pixels, whatever
    a patch measures.

    Args:
        scores: (N,).
        coords: (N, 2), top-left corners (x, y) in pixels of level 0.
        size0: Side of a patch in pixels of level 0.
        downsample: Pixels of level 0 along one of the raster, or (x, y) where they differ.
        canvas: Width and height of the raster; what a patch has beyond it is cut off.

    Raises `InputError` where the arrays do not fit each other or the raster would be too large.
    """
    values, corners = np.asarray(scores, np.float64), np.asarray(coords)
    if values.ndim != 1 or corners.shape != (values.size, 2):
        raise InputError(f"A heat map has scores (N,) and coordinates (N, 2), not {values.shape} and {corners.shape}.")
    factors = (downsample, downsample) if isinstance(downsample, int | float) else downsample
    width, height = canvas
    if width * height > _MOST:
        raise InputError(f"A heat map of {width} x {height} pixels is too large: choose a coarser one.")
    first = np.ceil(corners / np.asarray(factors)).astype(np.int64)
    last = first + np.ceil(size0 / np.asarray(factors)).astype(np.int64)
    (x0, y0), (x1, y1) = (np.clip(edge, 0, canvas).T for edge in (first, last))
    count = _integrated(np.ones(values.size, np.int32), x0, y0, x1, y1, shape=(height, width))
    total = _integrated(values, x0, y0, x1, y1, shape=(height, width))
    mean = np.full((height, width), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return Raster(mean=mean, count=count, downsample=(float(factors[0]), float(factors[1])))


def _integrated(
    weights: NDArray[N],
    x0: NDArray[np.int64],
    y0: NDArray[np.int64],
    x1: NDArray[np.int64],
    y1: NDArray[np.int64],
    *,
    shape: tuple[int, int],
) -> NDArray[N]:
    """(h, w): the sum of the weights of all boxes x0:x1, y0:y1 over each pixel."""
    corners = np.zeros((shape[0] + 1, shape[1] + 1), weights.dtype)
    for y, x, sign in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
        np.add.at(corners, (y, x), (sign * weights).astype(weights.dtype))
    np.cumsum(corners, axis=0, out=corners)
    np.cumsum(corners, axis=1, out=corners)
    return corners[:-1, :-1]
