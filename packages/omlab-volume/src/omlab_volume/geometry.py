"""Grids in space, tests of their affines, and the way from DICOM's and ITK's patient coordinates (LPS+) to ours (RAS+).

LPS+ and RAS+ differ in the sign of x and y; both are in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])

Affine = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an image lie: `shape` (I, J, K) and a 4x4 `affine` to world mm (RAS+)."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)  # a copy: the caller's array stays writable
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"The affine must be 4x4 and finite, not {affine.tolist()}.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise GeometryError(f"The affine is singular: its axes {affine[:3, :3].tolist()} span no volume.")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"A grid has three axes of at least one voxel, not {self.shape}.")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along i, j, k."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    @property
    def voxel_ml(self) -> float:
        """The volume of a voxel in millilitres."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000

    def same(self, other: Grid, *, tolerance: float = 1e-3) -> bool:
        """Whether both grids have the same voxels: corners agree within `tolerance` of a voxel."""
        if self.shape != other.shape:
            return False
        corners = np.array([[0, 0, 0, 1], [*np.subtract(self.shape, 1), 1]], dtype=np.float64).T
        axes = np.abs(self.affine[:3, :3] - other.affine[:3, :3]) * np.array(self.shape)
        gap = max(np.abs((self.affine - other.affine) @ corners).max(), axes.max())
        return bool(gap <= tolerance * min(self.spacing))

    def overlaps(self, other: Grid) -> bool:
        """Whether the middle of one lies within the other: the least that two images of one place have in common."""
        return self._holds_middle_of(other) or other._holds_middle_of(self)

    def _holds_middle_of(self, other: Grid) -> bool:
        middle = other.affine @ [*((n - 1) / 2 for n in other.shape), 1.0]
        voxel = np.linalg.solve(self.affine, middle)[:3]
        return bool(((voxel >= -0.5) & (voxel <= np.array(self.shape) - 0.5)).all())


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
