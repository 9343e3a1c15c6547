"""Points on the surface of a structure that stand for its box: where it ends along each axis.

Arrays are (z, y, x); bounds are inclusive. Source: Lei et al. 2023, arXiv 2306.14752, sections III-C and III-D: the six
extreme points of a whole structure (whole patch localisation, WPL), or of parts of it along z (sub-patch, SPL).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = NDArray[np.int_]

MOST_PARTS = 6
_SCAN = {0: (1, 2), 1: (2, 0), 2: (0, 1)}
"""In which order of axes the pixels of a slice across an axis are counted."""


class Bounds(NamedTuple):
    """The least and the greatest (z, y, x) of a structure, both of it."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]


def bounds_of(mask: Mask) -> Bounds:
    """The bounds of a mask (Z, Y, X), which is not empty."""
    low, high = [], []
    for axis in range(3):
        there = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        low.append(int(there[0]))
        high.append(int(there[-1]))
    return Bounds((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def part_count(extents: Sequence[int], *, slice_interval: int) -> int:
    """Into how many parts a structure is cut along z; 0: it is taken as a whole.

    Args:
        extents: Last minus first slice of the structure in each support scan.
        slice_interval: Fewest slices of a part; 0: structures are never cut.
    """
    smallest = min(extents)
    if slice_interval < 1 or smallest <= slice_interval:
        return 0
    return min(smallest // slice_interval, MOST_PARTS)


def extreme_points(mask: Mask) -> Points:
    """The six points (6, 3) of a mask: at its least z, y, x and at its greatest z, y, x."""
    return _points(mask, bounds_of(mask))


def part_bounds(mask: Mask, *, parts: int) -> list[Bounds]:
    """The bounds of equal parts along z, the last of which takes what is left over.

    A part has the slices from its first up to its last, which is the next part's first and counts only of the last
    part. One without a voxel is as wide as the part before it.
    """
    whole = bounds_of(mask)
    first, last = whole.low[0], whole.high[0]
    step = (last - first) // parts
    found: list[Bounds] = []
    for n in range(parts):
        begin, end = first + n * step, last if n == parts - 1 else first + (n + 1) * step
        slab = mask[begin : end + 1 if n == parts - 1 else end]
        inside = bounds_of(slab) if slab.any() else found[-1]
        found.append(Bounds((begin, *inside.low[1:]), (end, *inside.high[1:])))
    return found


def part_points(mask: Mask, *, parts: int) -> Points:
    """Six points for each part, (6 * parts, 3), in the order of `extreme_points`."""
    return np.concatenate([_points(mask, bounds) for bounds in part_bounds(mask, parts=parts)])


def _points(mask: Mask, bounds: Bounds) -> Points:
    return np.array([_middle(mask, axis=axis, at=end[axis]) for end in bounds for axis in range(3)])


def _middle(mask: Mask, *, axis: int, at: int) -> tuple[int, int, int]:
    """The pixel in the middle of the list of those of a slice; of the next slice that has some, where it has none."""
    slices = np.moveaxis(mask, (axis, *_SCAN[axis]), (0, 1, 2))
    while not slices[at].any():
        at = (at + 1) % len(slices)
    pixels = np.argwhere(slices[at])
    middle = pixels[len(pixels) // 2]
    place = [0, 0, 0]
    place[axis] = at
    for other, value in zip(_SCAN[axis], middle, strict=True):
        place[other] = int(value)
    return (place[0], place[1], place[2])
