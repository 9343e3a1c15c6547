"""Label maps whose voxels are some of an image's, such as a DICOM-SEG that leaves empty slices out, on its grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from omlab_volume.geometry import Grid
from omlab_volume.volume import LabelMap

_OFF = 0.1
"""Of a voxel: how far a corner may lie from the image's voxels."""


def placed_on(labelmap: LabelMap, grid: Grid) -> LabelMap:
    """The label map on `grid`, 0 where it says nothing; as it is where its voxels are not among those of the grid.

    Axes may have another order or direction. Nothing is interpolated.
    """
    if labelmap.grid.same(grid):
        return labelmap
    steps = np.linalg.solve(grid.affine, labelmap.affine)
    whole = np.rint(steps[:3, :3])
    is_turned = (np.abs(whole).sum(axis=0) == 1).all() and (np.abs(whole).sum(axis=1) == 1).all()
    ends = np.array([[0, 0, 0], np.subtract(labelmap.array.shape, 1)])
    corners = ends @ steps[:3, :3].T + steps[:3, 3]
    first, last = np.rint(corners).min(axis=0), np.rint(corners).max(axis=0)
    off = np.abs(steps[:3, :3] - whole) @ np.array(labelmap.array.shape)
    is_among = max(float(off.max()), float(np.abs(corners - np.rint(corners)).max())) <= _OFF
    if not (is_turned and is_among and (first >= 0).all() and (last < grid.shape).all()):
        return labelmap
    order = np.abs(whole).argmax(axis=1)  # for each axis of the grid: which one of the label map's
    turned = labelmap.array.transpose(order)
    turned = turned[tuple(slice(None, None, int(whole[axis, order[axis]])) for axis in range(3))]
    array = np.zeros(grid.shape, dtype=turned.dtype)
    array[tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))] = turned
    return replace(labelmap, array=array, affine=grid.affine)
