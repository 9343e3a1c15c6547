"""What the gate looks at: a volume's values, body and slices along the closest RAS+ axes. Triples are (z, y, x).

Of a large volume every n-th voxel is read, so that looking takes well under a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_volume.orientation import canonical_array, canonical_grid
from omlab_volume.volume import Volume

LOOKED_AT = 1 << 20
"""Voxels whose values are read at most, about."""
PADDING = -1100.0
"""Below this lies no tissue and no air: the corners that scanners fill (-2000, -3024)."""
_BINS = 256

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Look:
    """A volume as the gate sees it: its first channel, thinned out; padding and what is not finite are the least."""

    volume: Volume

    @cached_property
    def whole(self) -> NDArray[Any]:
        """The first channel (Z, Y, X), every voxel; a view."""
        return canonical_array(self.volume.array[0], self.volume.grid).transpose(2, 1, 0)

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Of every voxel, in mm."""
        x, y, z = canonical_grid(self.volume.grid).spacing
        return z, y, x

    @property
    def extent(self) -> tuple[float, float, float]:
        """Of the image, in mm."""
        z, y, x = (n * step for n, step in zip(self.whole.shape, self.spacing, strict=True))
        return z, y, x

    @cached_property
    def steps(self) -> tuple[int, int, int]:
        """Every how many-th voxel is read."""
        step = max(1.0, (self.whole.size / LOOKED_AT) ** (1 / 3))
        z, y, x = (max(1, min(round(step), n // 16)) for n in self.whole.shape)
        return z, y, x

    @cached_property
    def thin(self) -> Array:
        """The voxels that are read, float32; padding, NaN and infinite ones are the least of the others."""
        z, y, x = self.steps
        values = np.array(self.whole[::z, ::y, ::x], np.float32)
        odd = ~np.isfinite(values) | (values < PADDING)
        if odd.all():
            return np.zeros_like(values)
        values[odd] = values[~odd].min()
        return values

    @cached_property
    def split(self) -> float:
        """The value between what is dark and what is bright (Otsu 1979), of the middle 99 % of the values."""
        low, high = np.percentile(self.thin, [0.5, 99.5])
        if not low < high:
            return float(low)
        counts, edges = np.histogram(self.thin, bins=_BINS, range=(float(low), float(high)))
        middles = (edges[:-1] + edges[1:]) / 2
        below = np.cumsum(counts)
        above = below[-1] - below
        sums = np.cumsum(counts * middles)
        with np.errstate(divide="ignore", invalid="ignore"):
            between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
        return float(edges[int(np.nanargmax(between)) + 1])

    @cached_property
    def bright(self) -> NDArray[np.bool_]:
        """Which voxels of `thin` are bright: the body, and a table."""
        return np.asarray(self.thin > self.split)

    @cached_property
    def levels(self) -> dict[str, float]:
        """`low`, `high`: the 1st and 99th percentile; `dark`: the most common dark value; `middle`: the bright one."""
        low, high = (float(value) for value in np.percentile(self.thin, [1, 99]))
        dark, bright = self.thin[~self.bright], self.thin[self.bright]
        return {
            "low": low,
            "dark": _most_common(dark) if dark.size else low,
            "middle": float(np.median(bright)) if bright.size else high,
            "high": high,
        }

    @cached_property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the bright part is, in `thin`: planes of which at least a tenth of the fullest one is bright."""
        slices = []
        for axis in range(3):
            filled = self.bright.sum(axis=tuple(other for other in range(3) if other != axis))
            used = np.flatnonzero(filled > 0.1 * filled.max()) if filled.any() else np.arange(len(filled))
            slices.append(slice(int(used[0]), int(used[-1]) + 1))
        return slices[0], slices[1], slices[2]

    def thumbnail(self, size: int) -> Array:
        """The bright part and what it encloses as (size, size, size) means, from 0 (dark) to 1 (bright)."""
        low, high = self.levels["low"], self.levels["high"]
        cut = np.clip((self.thin[self.box] - low) / max(high - low, 1e-6), 0, 1)
        for axis in range(3):
            edges = np.linspace(0, cut.shape[axis], size + 1)
            first = np.minimum(np.floor(edges[:-1]).astype(int), cut.shape[axis] - 1)
            last = np.maximum(np.ceil(edges[1:]).astype(int), first + 1)
            parts = [cut.take(range(a, b), axis=axis).mean(axis=axis) for a, b in zip(first, last, strict=True)]
            cut = np.stack(parts, axis=axis)
        return np.asarray(cut, np.float32)


def _most_common(values: Array) -> float:
    """The middle of the fullest of some bins."""
    low, high = np.percentile(values, [0.5, 99.5])
    if not low < high:
        return float(low)
    counts, edges = np.histogram(values, bins=_BINS, range=(float(low), float(high)))
    fullest = int(counts.argmax())
    return float((edges[fullest] + edges[fullest + 1]) / 2)
