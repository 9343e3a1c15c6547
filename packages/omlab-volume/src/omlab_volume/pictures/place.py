"""Which place of a volume a picture shows: the middle of the largest ball that fits into what is to be seen.

Unlike the middle of everything, it lies in something, and a few voxels far away do not move it; of what differs along
a border it takes the thickest place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt  # type: ignore[import-untyped]

from omlab_volume.geometry import Grid
from omlab_volume.labels import Labelled, same_classes
from omlab_volume.orientation import canonical_array, canonical_grid

Voxel = tuple[int, int, int]

_CELLS = 64  # along the longest side: fine enough for a picture, and quick


def place_of(
    labelmap: Labelled | None, *, target: Labelled | None, grid: Grid, pointed: Sequence[float] | None = None
) -> Voxel:
    """The voxel of `grid`, along its closest RAS+ axes, that pictures of a label map on it go through.

    Where the label map and the target differ most; classes that the target lacks do not count. Where nothing differs,
    it is the voxel that was `pointed` at, else the thickest place of what is labelled, else the middle of the grid.
    """
    if labelmap is not None and target is not None:
        differs = same_classes(labelmap, as_in=target) != target.array
        if differs.any():
            return thickest(canonical_array(differs, grid), spacing=canonical_grid(grid).spacing)
    canonical = canonical_grid(grid)
    if pointed is not None:
        i, j, k = (int(n) for n in np.clip(np.rint(pointed), 0, np.array(canonical.shape) - 1))
        return i, j, k
    shown = labelmap if labelmap is not None else target
    labelled = np.zeros(grid.shape, dtype=bool) if shown is None else shown.array > 0
    return thickest(canonical_array(labelled, grid), spacing=canonical.spacing)


def thickest(subject: NDArray[np.bool_], *, spacing: Sequence[float]) -> Voxel:
    """The voxel of `subject` (I, J, K) where it is thickest, told on cells of some voxels; else the middle of the grid.

    `spacing` is in mm along i, j, k.
    """
    corner, box = _occupied(subject)
    if not box.size:
        i, j, k = ((n - 1) // 2 for n in subject.shape)
        return i, j, k
    edge = max(n * mm for n, mm in zip(box.shape, spacing, strict=True)) / _CELLS
    step = [max(1, round(edge / mm)) for mm in spacing]
    share = _shares(box, step=step)
    solid = share >= min(0.5, float(share.max()))
    sides = np.multiply(step, spacing)
    depth = distance_transform_edt(np.pad(solid, 1), sampling=sides)[1:-1, 1:-1, 1:-1]
    deepest = np.argwhere(depth >= depth.max() * (1 - 1e-9))
    cell = deepest[np.argmin((((deepest - deepest.mean(axis=0)) * sides) ** 2).sum(axis=1))]
    first = cell * step
    within = np.argwhere(box[tuple(slice(a, a + n) for a, n in zip(first, step, strict=True))])
    gap = (within - (np.array(step) - 1) / 2) * spacing
    i, j, k = (int(n) for n in corner + first + within[np.argmin((gap**2).sum(axis=1))])
    return i, j, k


def _occupied(subject: NDArray[np.bool_]) -> tuple[NDArray[np.int_], NDArray[np.bool_]]:
    """The first voxel of the box around what is set, and that box; an empty one where nothing is."""
    found = [np.flatnonzero(subject.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not found[0].size:
        return np.zeros(3, dtype=int), subject[:0]
    box = subject[tuple(slice(where[0], where[-1] + 1) for where in found)]
    return np.array([where[0] for where in found]), box


def _shares(box: NDArray[np.bool_], *, step: Sequence[int]) -> NDArray[Any]:
    """Which share of each cell of `step` voxels is set; cells at the end may be smaller."""
    counts: NDArray[Any] = box
    whole = np.ones((1, 1, 1))
    for axis, n in enumerate(step):
        starts = np.arange(0, box.shape[axis], n)
        counts = np.add.reduceat(counts, starts, axis=axis, dtype=np.int64)
        lengths = np.minimum(n, box.shape[axis] - starts)
        whole = whole * lengths.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(counts / whole)
