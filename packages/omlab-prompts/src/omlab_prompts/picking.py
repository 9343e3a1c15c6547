"""Where a mask would be pointed at: deep inside, just outside, around. For masks of two or three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

Mask = NDArray[np.bool_]
Voxel = tuple[int, ...]
_NEAR, _FAR = 1.5, 3.5
"""Of the largest spacing: how far outside a point lies at least and at most."""


def depth(region: Mask, *, spacing: Sequence[float] | None = None) -> NDArray[np.float64]:
    """Distance to the nearest place outside the region, in voxels or in the unit of `spacing`; its array ends there."""
    found: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(region, 1), sampling=spacing)
    return found[(slice(1, -1),) * region.ndim]


def deepest(region: Mask, *, count: int, spacing: Sequence[float]) -> list[Voxel]:
    """The place deepest inside, then those that are deepest and away from the ones before; fewer in a small region.

    Of several as deep it is the one nearest to their middle.
    """
    left = region.copy()
    found: list[Voxel] = []
    while len(found) < count and left.any():
        inside = depth(left, spacing=spacing)
        places = np.argwhere(inside >= inside.max() * (1 - 1e-9))
        gap = np.linalg.norm((places - places.mean(axis=0)) * spacing, axis=1)
        at = tuple(int(n) for n in places[int(gap.argmin())])
        found.append(at)
        left[at] = False  # is outside from now on
    return found


def beside(region: Mask, *, count: int, spacing: Sequence[float]) -> list[Voxel]:
    """Places outside but near the border, as far from each other as can be; fewer where there is no room."""
    if not count or not region.any():
        return []
    outside: NDArray[np.float64] = ndimage.distance_transform_edt(~region, sampling=spacing)
    step = max(spacing)
    ring = np.argwhere((outside >= _NEAR * step) & (outside <= _FAR * step))
    places = ring * np.asarray(spacing)
    found: list[Voxel] = []
    gap = np.linalg.norm(places - np.argwhere(region).mean(axis=0) * spacing, axis=1) if len(ring) else np.zeros(0)
    while len(found) < min(count, len(ring)):
        at = int(gap.argmax())
        found.append(tuple(int(n) for n in ring[at]))
        away = np.linalg.norm(places - places[at], axis=1)
        gap = away if len(found) == 1 else np.minimum(gap, away)
    return found


def room_for_outside(spacing: Sequence[float]) -> list[int]:
    """How many voxels beyond a region `beside` may point at, along each axis."""
    return [int(np.ceil(_FAR * max(spacing) / step)) + 1 for step in spacing]


def grown(box: Sequence[slice], *, by: Sequence[int], within: Sequence[int]) -> tuple[slice, ...]:
    """A box with some voxels more on each side, cut at the array's end."""
    return tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, by, within, strict=True)
    )


def around(box: Sequence[slice], *, margin: Sequence[float], within: Sequence[int]) -> tuple[list[float], list[float]]:
    """The corners of a box of voxels, from edge to edge, with a margin in voxels, cut at the array's edge."""
    # a little inside the edge: there and back through an affine must not leave the image
    least, most = -0.499, [size - 0.501 for size in within]
    near = [max(least, part.start - 0.5 - more) for part, more in zip(box, margin, strict=True)]
    far = [min(end, part.stop - 0.5 + more) for part, more, end in zip(box, margin, most, strict=True)]
    return near, far


def boxes_of(array: NDArray[Any]) -> dict[int, tuple[slice, ...]]:
    """The box around each value of an array of whole numbers, but 0."""
    return {value: box for value, box in enumerate(ndimage.find_objects(array), start=1) if box is not None}
