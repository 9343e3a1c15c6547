"""Conversions between DICOM's and ITK's patient coordinates (LPS+) and ours (RAS+), and tests of an affine.

LPS+ and RAS+ differ in the sign of x and y; both are in mm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])

Affine = NDArray[np.float64]


def swap_lps_ras(affine: Affine) -> Affine:
    """The affine from voxels to RAS+ of one to LPS+, and the reverse."""
    return np.asarray(_FLIP @ np.asarray(affine, dtype=np.float64), dtype=np.float64)


def affine_from_axes(axes: NDArray[np.float64], *, origin: NDArray[np.float64]) -> Affine:
    """The affine whose columns are `axes` (3, 3), steps of one voxel, and `origin` (3,), the first voxel's centre."""
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = origin
    return affine


def unit_axes(affine: Affine) -> NDArray[np.float64]:
    """The directions of i, j, k as the columns of a (3, 3) array of unit vectors."""
    axes = affine[:3, :3]
    return np.asarray(axes / np.linalg.norm(axes, axis=0), dtype=np.float64)


def is_orthogonal(affine: Affine, *, tolerance: float = 1e-3) -> bool:
    """Whether the axes are at right angles: no cosine between two of them above `tolerance`."""
    axes = unit_axes(affine)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= tolerance)


def largest_gap(first: Affine, second: Affine, *, shape: tuple[int, int, int]) -> float:
    """Largest distance in mm between where two affines put the corner voxels of a grid of `shape`."""
    corners = np.array([(i, j, k, 1) for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)])
    difference = (first - second) @ corners.T.astype(np.float64)
    return float(np.linalg.norm(difference[:3], axis=0).max())
