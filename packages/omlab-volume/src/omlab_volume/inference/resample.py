"""Resampling of images and label maps on the CPU, as nnU-Net v1 does it.

Spline interpolation with edge values outside, half-voxel centred (the first voxel's *outer face* stays
where it is), without anti-aliasing; results of order 2 and more are clipped to the input's range. A
spline is linear and separable, so each axis is one banded matrix, taken from `scipy.ndimage.zoom` of the
identity: the same numbers as a 3-D zoom with a fraction of its work, and no float64 copy of the image.

A single coarse axis is done apart: order 0 along it, after the in-plane step (fact sheet of STU-Net, 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

ANISOTROPY = 3.0
"""A grid whose coarsest spacing is more than this many times its finest is resampled axis by axis."""

_BLOCK = 64  # outputs per product: narrow enough that a banded matrix stays mostly non-zero
_CHUNK = 1 << 21  # voxels converted to float64 at a time
_NEGLIGIBLE = 1e-12  # weights below this are the spline's far tail

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]


def resampled_shape(shape: Sequence[int], *, spacing: Sequence[float], target: Sequence[float]) -> Shape:
    """The shape at spacing `target`: old spacing / new spacing x old shape, rounded, at least one voxel."""
    wanted = np.round(np.asarray(spacing, float) / np.asarray(target, float) * np.asarray(shape))
    z, y, x = (max(1, int(n)) for n in wanted)
    return z, y, x


def separate_axis(spacing: Sequence[float], target: Sequence[float]) -> int | None:
    """The coarse axis that is resampled apart, if there is exactly one.

    Decided on the original spacing where that is anisotropic (ratio above `ANISOTROPY`), else on the target's.
    """
    for candidate in (spacing, target):
        if max(candidate) / min(candidate) > ANISOTROPY:
            coarse = [axis for axis, size in enumerate(candidate) if size == max(candidate)]
            return coarse[0] if len(coarse) == 1 else None
    return None


def nearest_indices(size: int, wanted: int) -> NDArray[np.intp]:
    """For each of `wanted` outputs the input it takes along a separate axis of `size` (order 0)."""
    centres = size / wanted * (np.arange(wanted) + 0.5) - 0.5
    indices: NDArray[np.intp] = np.clip(np.floor(centres + 0.5), 0, size - 1).astype(np.intp)
    return indices


class LinearSteps(NamedTuple):
    """Order 1 along one axis: output o is (1 - weight[o]) x input[lower[o]] + weight[o] x input[upper[o]]."""

    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    weight: NDArray[np.float32]

    def part(self, outputs: slice, *, origin: int = 0) -> LinearSteps:
        """The steps of some `outputs`, with inputs counted from `origin`."""
        return LinearSteps(self.lower[outputs] - origin, self.upper[outputs] - origin, self.weight[outputs])


def linear_steps(size: int, wanted: int, *, order: int = 1) -> LinearSteps:
    """The two inputs and the weight of every output along an axis; with `order` 0 both are the nearest."""
    if order == 0:
        nearest = nearest_indices(size, wanted)
        return LinearSteps(nearest, nearest, np.zeros(wanted, np.float32))
    centres = np.clip(size / wanted * (np.arange(wanted) + 0.5) - 0.5, 0, size - 1)
    lower = np.floor(centres).astype(np.intp)
    return LinearSteps(lower, np.minimum(lower + 1, size - 1), (centres - lower).astype(np.float32))


class _Band(NamedTuple):
    """Outputs `first:last` of an axis as a matrix (last - first, stop - start) on its inputs `start:stop`."""

    first: int
    last: int
    start: int
    stop: int
    weights: NDArray[np.float64]


@lru_cache(maxsize=64)
def _bands(size: int, wanted: int, order: int) -> tuple[_Band, ...]:
    columns = np.eye(size)
    matrix = ndimage.zoom(columns, (wanted / size, 1), order=order, mode="nearest", grid_mode=True)
    bands = []
    for first in range(0, wanted, _BLOCK):
        rows = matrix[first : first + _BLOCK]
        used = np.flatnonzero(np.abs(rows).max(axis=0) > _NEGLIGIBLE)
        start, stop = int(used[0]), int(used[-1]) + 1
        bands.append(_Band(first, first + len(rows), start, stop, np.ascontiguousarray(rows[:, start:stop])))
    return tuple(bands)


def _chunks(total: int, per_item: int) -> Iterator[slice]:
    count = max(1, _CHUNK // max(1, per_item))
    for start in range(0, total, count):
        yield slice(start, min(start + count, total))


def _along(array: NDArray[np.float32], axis: int, wanted: int, order: int) -> NDArray[np.float32]:
    """`array` (Z, Y, X) resampled along one axis to `wanted` voxels."""
    size = array.shape[axis]
    if size == wanted:
        return array
    shape = list(array.shape)
    shape[axis] = wanted
    result = np.empty(shape, np.float32)
    across = 1 if axis == 0 else 0  # the axis that is cut into chunks
    for part in _chunks(array.shape[across], array.size // array.shape[across]):
        at = (slice(None),) * across + (part,)
        source, goal = array[at], result[at]
        for first, last, start, stop, weights in _bands(size, wanted, order):
            inputs = source[(slice(None),) * axis + (slice(start, stop),)].astype(np.float64)
            if axis == 0:
                goal[first:last] = (weights @ inputs.reshape(stop - start, -1)).reshape(-1, *inputs.shape[1:])
            elif axis == 1:
                goal[:, first:last] = weights @ inputs
            else:
                goal[:, :, first:last] = inputs @ weights.T
    return result


def resample(
    array: NDArray[Any], shape: Sequence[int], *, order: int = 3, separate: int | None = None
) -> NDArray[np.float32]:
    """Resample one channel (Z, Y, X) to `shape`.

    Args:
        array: intensities or one class's score; must be finite.
        shape: the wanted (Z, Y, X), each at least 1.
        order: of the spline (0 to 5).
        separate: the coarse axis that is done apart with order 0, or None.

    Returns:
        float32 of `shape`; the input itself where nothing changes.
    """
    wanted = tuple(int(n) for n in shape)
    result = np.asarray(array, np.float32)
    if result.shape == wanted:
        return result
    axes = [axis for axis in range(3) if axis != separate]
    limits = _limits(result, tuple(axes)) if order > 1 else None
    for axis in sorted(axes, key=lambda axis: wanted[axis] / array.shape[axis]):
        result = _along(result, axis, wanted[axis], order)
    if limits is not None:
        result = np.clip(result, *limits)
    if separate is not None and result.shape[separate] != wanted[separate]:
        result = result.take(nearest_indices(result.shape[separate], wanted[separate]), axis=separate)
    return result


def _limits(array: NDArray[np.float32], axes: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Smallest and largest value over `axes`: what overshooting splines are clipped to."""
    return array.min(axis=axes, keepdims=True), array.max(axis=axes, keepdims=True)


def resample_labels(
    array: NDArray[Any], shape: Sequence[int], *, order: int = 1, separate: int | None = None
) -> NDArray[Any]:
    """Resample classes (Z, Y, X) to `shape`, keeping their integer type.

    With `order` 1, class by class: a voxel takes the highest class that fills at least half of it, else 0.
    With `order` 0, the nearest voxel's class.
    """
    wanted = tuple(int(n) for n in shape)
    if array.shape == wanted:
        return array
    if order == 0:
        nearest = array
        for axis in range(3):
            nearest = nearest.take(nearest_indices(array.shape[axis], wanted[axis]), axis=axis)
        return nearest
    in_plane = tuple(array.shape[axis] if axis == separate else wanted[axis] for axis in range(3))
    result = np.zeros(in_plane, array.dtype)
    for value in np.unique(array):
        share = resample(array == value, in_plane, order=order, separate=separate)
        result[share >= 0.5 - 1e-6] = value  # rounding must not turn an exact half away
    if separate is not None and in_plane != wanted:
        result = result.take(nearest_indices(in_plane[separate], wanted[separate]), axis=separate)
    return result
