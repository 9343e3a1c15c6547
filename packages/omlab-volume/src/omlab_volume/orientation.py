"""Axes of an image and axes of the body: to the closest RAS+ order and exactly back.

Only permutations and flips are applied, never an interpolation: of an oblique image the axes are
those closest to Right, Anterior, Superior, and the affine goes on saying where each voxel lies.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from omlab_volume.geometry import Grid


class AxisOrder(NamedTuple):
    """Canonical axis `a` is the image's axis `axes[a]`, run backwards where `flipped[a]`."""

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]


def canonical_order(affine: NDArray[np.float64]) -> AxisOrder:
    """The permutation and flips that bring the axes of `affine` closest to RAS+."""
    closest = io_orientation(affine)  # type: ignore[no-untyped-call]  # for each axis of the image: the body's axis and its sign
    axes, flipped = [0, 0, 0], [False, False, False]
    for axis, (body, sign) in enumerate(closest):
        axes[int(body)] = axis
        flipped[int(body)] = bool(sign < 0)
    return AxisOrder((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]))


def canonical_grid(grid: Grid) -> Grid:
    """The same voxels in space, counted along the closest RAS+ axes."""
    order = canonical_order(grid.affine)
    to_source = np.zeros((4, 4))
    to_source[3, 3] = 1
    for axis, (source, flipped) in enumerate(zip(order.axes, order.flipped, strict=True)):
        to_source[source, axis] = -1 if flipped else 1
        to_source[source, 3] = grid.shape[source] - 1 if flipped else 0
    i, j, k = (grid.shape[axis] for axis in order.axes)
    return Grid((i, j, k), grid.affine @ to_source)


def canonical_array(array: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """A view of `array` (..., I, J, K) on `grid` along the axes of `canonical_grid(grid)`."""
    order = canonical_order(grid.affine)
    lead = array.ndim - 3
    turned = array.transpose(*range(lead), *(lead + axis for axis in order.axes))
    backwards = tuple(lead + axis for axis in range(3) if order.flipped[axis])
    return np.flip(turned, backwards)


def reorient_labels(array: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Bring `array` (I, J, K) from `canonical_grid(grid)` back to the axes of `grid`.

    The exact inverse of `canonical_array`; the result is contiguous.
    """
    order = canonical_order(grid.affine)
    expected = canonical_grid(grid).shape
    if array.shape != expected:
        raise ValueError(f"array is {array.shape}, the canonical grid {expected}")
    unflipped = np.flip(array, tuple(axis for axis in range(3) if order.flipped[axis]))
    return np.ascontiguousarray(unflipped.transpose(np.argsort(order.axes)))
