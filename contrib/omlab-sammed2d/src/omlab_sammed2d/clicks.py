"""Prompts made from masks: boxes around regions, first points, points where a mask is wrong (Cheng et al. 2023).

Masks are (H, W); points are (x, y). A draw is a function that gives a number below its argument, such as
`numpy.random.Generator.integers`; candidates are taken in C order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

Mask = NDArray[np.bool_]
Draw = Callable[[int], int]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1; the far ends exclusive."""

MOST_SHIFT = 5
SHARE_SHIFT = 0.5


def region_boxes(mask: Mask, *, count: int = 1) -> list[Box]:
    """The boxes around the `count` largest of a mask's connected regions (8 neighbours), the largest first.

    Where there are fewer regions, in the order in which they are met, over and over. None for an empty mask.
    """
    regions, found = ndimage.label(mask, structure=np.ones((3, 3)))
    spans = ndimage.find_objects(regions)
    if found >= count:
        areas = np.bincount(regions.ravel())[1:]
        spans = [spans[index] for index in np.argsort(-areas, kind="stable")[:count]]
    boxes = [(float(x.start), float(y.start), float(x.stop), float(y.stop)) for y, x in spans]
    return list(islice(cycle(boxes), count)) if boxes else []


def most_shift(box: Box) -> int:
    """How far training moves a box, m: by a draw from -m to m - 1 along x, and another one along y; 0: not at all."""
    return min(MOST_SHIFT, int(min(box[2] - box[0], box[3] - box[1]) * SHARE_SHIFT))


def shifted(box: Box, *, x: int, y: int) -> Box:
    """The box moved as a whole."""
    return (box[0] + x, box[1] + y, box[2] + x, box[3] + y)


def first_points(
    mask: Mask, *, count: int, draw: Draw, shuffle: Callable[[int], Sequence[int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first points of an object, (count, 2), and their labels.

    One lies in the object, or where there is none outside it. Of several, half (rounded down) lie in it and the rest
    outside, in the order that `shuffle(count)`, a permutation, gives; drawn with replacement.
    """
    inside, outside = np.argwhere(mask), np.argwhere(~mask)
    if count == 1:
        places = inside if len(inside) else outside
        return places[[draw(len(places))], ::-1], np.array([int(bool(len(inside)))])
    halves = (count // 2, count - count // 2)
    if not len(inside) or not len(outside):
        halves = (0, count) if not len(inside) else (count, 0)
    chosen = [places[draw(len(places))] for places, n in zip((inside, outside), halves, strict=True) for _ in range(n)]
    labels = np.array([1] * halves[0] + [0] * halves[1])
    order = np.asarray(shuffle(count))
    return np.array(chosen)[order, ::-1], labels[order]


def error_points(mask: Mask, reference: Mask, *, count: int, draw: Draw) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` points (count, 2) where a mask is wrong, and their labels: 1 where it was missed, 0 where it is false.

    Drawn with replacement. Where nothing is wrong they lie anywhere and have the label -1: no point.
    """
    wrong = mask != reference
    places = np.argwhere(wrong)
    if not len(places):
        size = mask.size
        flat = np.array([draw(size) for _ in range(count)])
        return np.stack((flat % mask.shape[1], flat // mask.shape[1]), axis=1), np.full(count, -1)
    chosen = places[[draw(len(places)) for _ in range(count)]]
    return chosen[:, ::-1], reference[chosen[:, 0], chosen[:, 1]].astype(np.int64)


def deepest_point(mask: Mask, reference: Mask, *, draw: Draw) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One point deep in the larger error (RITM: Sofiiuk et al., arXiv 2102.06583), as `error_points` gives it.

    Of what was missed and what is false the kind that reaches deeper wins; candidates are its pixels more than half as
    deep, the border of the image counting as the error's border.
    """
    missed, false = (_depth(kind) for kind in (reference & ~mask, mask & ~reference))
    depth = missed if missed.max() > false.max() else false
    if depth.max() == 0:
        return error_points(mask, reference, count=1, draw=draw)
    places = np.argwhere(depth > depth.max() / 2)
    row, column = places[draw(len(places))]
    return np.array([[column, row]]), np.array([int(reference[row, column])])


def _depth(region: Mask) -> NDArray[np.float64]:
    found: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(region, 1))
    return found[1:-1, 1:-1]
