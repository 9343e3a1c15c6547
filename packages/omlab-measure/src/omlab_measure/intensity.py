"""First-order intensity features of one structure; definitions as in pyradiomics 3 (`firstorder`).

The standard deviation is that of the voxels (divided by n), kurtosis is not in excess (3 for a normal distribution),
percentiles are interpolated, entropy (bits) and uniformity are those of bins of a fixed width counted from a multiple
of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BIN_WIDTH = 25.0
"""Of entropy and uniformity, in the image's unit: pyradiomics' default, which suits HU."""

PERCENTILES = (10, 25, 50, 75, 90)
_BLOCK = 1 << 22  # values turned to double precision at a time


def first_order(values: NDArray[Any], *, bin_width: float = BIN_WIDTH) -> dict[str, float | None]:
    """The features of the finite ones among `values` (n,), by name; None where they are not defined."""
    ordered = np.sort(values[np.isfinite(values)] if values.dtype.kind == "f" else values, axis=None)
    if not ordered.size:
        return dict.fromkeys(NAMES)
    mean = float(ordered.mean(dtype=np.float64))
    second, third, fourth, absolute, square = _powers(ordered, mean=mean)
    p10, p25, median, p75, p90 = (_percentile(ordered, percent) for percent in PERCENTILES)
    shares = _bins(ordered, width=bin_width)
    found = (
        mean, second**0.5, float(ordered[0]), p10, p25, median, p75, p90, float(ordered[-1]), p75 - p25, absolute,
        square**0.5, third / second**1.5 if second else None, fourth / second**2 if second else None,
        float(-(shares * np.log2(shares)).sum()) + 0.0, float((shares**2).sum()),
    )  # fmt: skip
    return dict(zip(NAMES, found, strict=True))


NAMES = (
    "mean", "sd", "minimum", "p10", "p25", "median", "p75", "p90", "maximum", "interquartile_range",
    "mean_absolute_deviation", "root_mean_square", "skewness", "kurtosis", "entropy", "uniformity",
)  # fmt: skip


def _percentile(ordered: NDArray[Any], percent: float) -> float:
    """Interpolated between sorted values."""
    place = percent / 100 * (len(ordered) - 1)
    low = int(place)
    first, second = float(ordered[low]), float(ordered[min(low + 1, len(ordered) - 1)])
    return first + (place - low) * (second - first)


def _powers(values: NDArray[Any], *, mean: float) -> tuple[float, float, float, float, float]:
    """The central moments 2 to 4, the mean absolute deviation and the mean square; some values at a time."""
    sums = np.zeros(5)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK].astype(np.float64)
        away = block - mean
        squares = away * away
        sums += (squares.sum(), (squares * away).sum(), (squares * squares).sum(), np.abs(away).sum(), block @ block)
    second, third, fourth, absolute, square = (float(one) for one in sums / len(values))
    return second, third, fourth, absolute, square


def _bins(ordered: NDArray[Any], *, width: float) -> NDArray[np.float64]:
    """The shares of the bins that are not empty."""
    low, high = (int(np.floor(float(end) / width)) for end in (ordered[0], ordered[-1]))
    if high - low < len(ordered):  # by the edges: sorted values are not looked at one by one
        edges = np.searchsorted(ordered, np.arange(low, high + 2) * width)
        edges[-1] = len(ordered)
        counts = np.diff(edges)
    else:  # more bins than values
        _, counts = np.unique(np.floor(ordered / width), return_counts=True)
    return np.asarray(counts[counts > 0] / len(ordered))
