"""Where voxels of the working space lie in the input: MedLAM sees (z, y, x) along LAS at 3 mm.

LAS: x grows to the patient's left, y to the front, z to the head. Of an oblique image the axes are those closest to
these, as in `omlab_volume.orientation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab_volume.geometry import Grid
from omlab_volume.orientation import canonical_array, canonical_order

SPACING = 3.0
"""mm."""


def along_las(array: NDArray[np.generic], grid: Grid) -> NDArray[np.generic]:
    """A view of `array` (I, J, K) on `grid` as (z, y, x) along LAS."""
    return np.flip(canonical_array(array, grid), 0).transpose(2, 1, 0)


def las_to_file(grid: Grid) -> NDArray[np.float64]:
    """The (4, 4) matrix from voxels (x, y, z, 1) along LAS to voxels (i, j, k, 1) of the file."""
    order = canonical_order(grid.affine)
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (source, flipped) in enumerate(zip(order.axes, order.flipped, strict=True)):
        backwards = flipped != (axis == 0)  # canonical is RAS: its first axis runs the other way
        matrix[source, axis] = -1 if backwards else 1
        matrix[source, 3] = grid.shape[source] - 1 if backwards else 0
    return matrix


@dataclass(frozen=True, eq=False, kw_only=True)
class WorkingSpace:
    """The way from a working copy back to its file.

    Attributes:
        grid: Of the file.
        zoom: Working voxels in a voxel of the file, along z, y, x of LAS.
    """

    grid: Grid
    zoom: tuple[float, float, float]

    def extremes_in_file(self, points: NDArray[np.number]) -> NDArray[np.float64]:
        """Six extreme points (6, 3) of a working copy, as voxels (k, j, i) of the file.

        Rows are the least k, j, i and then the greatest; where a least one lies beyond the greatest, they change place.
        Positions are rounded to voxels and may lie outside the file.
        """
        matrix = las_to_file(self.grid)
        las = np.round(np.asarray(points, np.float64) / self.zoom)[:, ::-1]
        placed = las @ matrix[:3, :3].T + matrix[:3, 3]
        rows = np.empty((6, 3))
        for axis in range(3):  # of the file
            across = 2 - int(np.flatnonzero(matrix[axis, :3])[0])  # of (z, y, x)
            pair = placed[[across, across + 3]]
            low, high = pair if pair[0, axis] <= pair[1, axis] else pair[::-1]
            rows[2 - axis], rows[5 - axis] = low[::-1], high[::-1]
        return rows


def corners_of(extremes: NDArray[np.number]) -> NDArray[np.float64]:
    """The corners (2, 3) of the box that six extreme points (6, 3) say: each gives the coordinate that it ends at."""
    return np.asarray(extremes, np.float64)[[[0, 1, 2], [3, 4, 5]], [0, 1, 2]]
