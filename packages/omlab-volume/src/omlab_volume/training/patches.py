"""Cutting training patches out of cases: where, and with which turn and scale.

Arrays are in the network's order (Z, Y, X). What lies outside a case is 0: the mean of a normalised image,
and background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

Locations = Mapping[int, NDArray[np.integer]]
"""Voxels (n, 3) of each class."""


def foreground_locations(labels: NDArray[np.integer], rng: Generator, *, limit: int = 10_000) -> Locations:
    """Voxels (n, 3) of each class but 0 that `labels` (Z, Y, X) holds, at most `limit` of each, drawn at random."""
    flat = np.flatnonzero(labels)
    values = labels.reshape(-1)[flat]
    order = np.argsort(values, kind="stable")
    classes, starts = np.unique(values[order], return_index=True)
    locations: dict[int, NDArray[np.integer]] = {}
    for value, voxels in zip(classes, np.split(flat[order], starts[1:]), strict=False):
        chosen = rng.choice(voxels, size=limit, replace=False) if len(voxels) > limit else voxels
        locations[int(value)] = np.stack(np.unravel_index(chosen, labels.shape), axis=1).astype(np.int64)
    return locations


def draw_start(
    shape: Sequence[int], rng: Generator, *, patch_size: Sequence[int], around: Locations | None = None
) -> tuple[int, int, int]:
    """First voxel of a random patch in a case of `shape`; below 0 where the case is smaller than the patch.

    The patch lies inside the case; along an axis where it cannot, the case lies in its middle. With `around`
    the patch holds a voxel of one of those classes, each class equally likely; otherwise every place is.
    """
    low = np.array([-(max(p - n, 0) // 2) for n, p in zip(shape, patch_size, strict=True)])
    high = np.array([max(n - p, first) for n, p, first in zip(shape, patch_size, low, strict=True)])
    if around:
        voxels = around[list(around)[rng.integers(len(around))]]
        centre = voxels[rng.integers(len(voxels))]
        start = np.clip(centre - np.array(patch_size) // 2, low, high)
    else:
        start = rng.integers(low, high, endpoint=True)
    return (int(start[0]), int(start[1]), int(start[2]))


def cut(array: NDArray[Any], *, start: Sequence[int], patch_size: Sequence[int]) -> NDArray[Any]:
    """The patch of `array` (..., Z, Y, X) that begins at `start`, a copy, 0 outside the array."""
    patch = np.zeros((*array.shape[:-3], *patch_size), dtype=array.dtype)
    source: list[Any] = [...]
    target: list[Any] = [...]
    for first, size, n in zip(start, patch_size, array.shape[-3:], strict=True):
        begin, end = max(first, 0), min(first + size, n)
        source.append(slice(begin, max(begin, end)))
        target.append(slice(begin - first, max(begin, end) - first))
    patch[tuple(target)] = array[tuple(source)]
    return patch


def cut_turned(
    array: NDArray[Any],
    *,
    start: Sequence[int],
    patch_size: Sequence[int],
    matrix: NDArray[np.float64],
    order: int,
) -> NDArray[Any]:
    """As `cut`, with the patch turned and scaled about its centre by `matrix` (patch voxels to case voxels).

    `order` 1 samples linearly (images), 0 takes the nearest voxel (labels).
    """
    half = (np.array(patch_size) - 1) / 2
    offset = np.array(start) + half - matrix @ half
    shape = tuple(patch_size)
    layers = array.reshape(-1, *array.shape[-3:])
    turned = [
        ndimage.affine_transform(layer, matrix, offset, output_shape=shape, order=order, mode="constant", cval=0)
        for layer in layers
    ]
    return np.stack(turned).reshape(*array.shape[:-3], *shape)
