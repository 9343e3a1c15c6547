"""Parallel slices as a scanner took them, and how they become one regular grid.

A stack is regular when its slices are evenly spaced and lie straight above each other. One with a gantry tilt (each
slice shifted within its plane), missing slices or changing spacing is resampled: each slice is shifted within its plane
and neighbours are mixed along the normal, both linearly, which is where the voxels are in space; nothing is sheared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab import progress
from omlab_volume.geometry import affine_from_axes

Vector = NDArray[np.float64]

_UNEVEN = 0.03  # of a slice distance: deviation from even spacing that counts as rounding of the header
_SHEAR = 1e-3  # sine of the angle between normal and stacking direction below which it is straight
_JITTER = 0.1  # of a voxel: deviation from a straight line within the planes
_COMMON = 0.2  # quantile of the distances that becomes the new one: a rare close pair does not set it


@dataclass(frozen=True, kw_only=True)
class SliceStack:
    """Slices sorted along their normal.

    `row` and `column` are the unit vectors along which i and j grow, `origins` (N, 3) the centres of the first voxels
    in mm (any frame), `spacing` the voxel sizes along i and j, `shape` (I, J), `thickness` the distance for a lone
    slice.
    """

    row: Vector
    column: Vector
    origins: Vector
    spacing: tuple[float, float]
    shape: tuple[int, int]
    thickness: float

    @property
    def normal(self) -> Vector:
        """Unit vector across the slices."""
        return np.cross(self.row, self.column)

    @property
    def depths(self) -> Vector:
        """Distance of each slice from the first along the normal, in mm."""
        return np.asarray((self.origins - self.origins[0]) @ self.normal)

    @property
    def shifts(self) -> Vector:
        """Shift of each slice against the first within the plane, (N, 2), in voxels along i and j."""
        moved = (self.origins - self.origins[0]) @ np.stack([self.row, self.column], axis=1)
        return np.asarray(moved / np.array(self.spacing))

    @property
    def gaps(self) -> Vector:
        """Distances between neighbouring slices in mm, (N - 1)."""
        return np.diff(self.depths)

    @property
    def tilt(self) -> float:
        """Angle in degrees between the normal and the line from the first slice to the last."""
        if len(self.origins) < 2:
            return 0.0
        way = self.origins[-1] - self.origins[0]
        return float(np.degrees(np.arccos(np.clip(way @ self.normal / np.linalg.norm(way), -1.0, 1.0))))

    @property
    def is_even(self) -> bool:
        """Whether the distances between the slices are all the same."""
        if len(self.origins) < 3:
            return True
        even = np.linspace(0.0, self.depths[-1], len(self.depths))
        return bool(np.abs(self.depths - even).max() <= _UNEVEN * self.depths[-1] / (len(self.depths) - 1))

    @property
    def is_straight(self) -> bool:
        """Whether the slices lie above each other, without a tilt."""
        if len(self.origins) < 2:
            return True
        line = np.outer(self.depths / self.depths[-1], self.shifts[-1])
        jitter = np.abs(self.shifts - line).max()
        return bool(np.sin(np.radians(self.tilt)) <= _SHEAR and jitter <= _JITTER)

    def affine(self) -> NDArray[np.float64]:
        """The affine of a regular stack, in the frame of `origins`."""
        count = len(self.origins)
        step = (self.origins[-1] - self.origins[0]) / (count - 1) if count > 1 else self.thickness * self.normal
        axes = np.stack([self.row * self.spacing[0], self.column * self.spacing[1], step], axis=1)
        return affine_from_axes(axes, origin=self.origins[0])


@dataclass(frozen=True, kw_only=True)
class RegularGrid:
    """The grid that a stack is resampled to: `first` is the (i, j) of its corner in voxels of the first slice."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    first: tuple[int, int]
    step: float


def regular_grid(stack: SliceStack) -> RegularGrid:
    """A grid with the stack's voxel sizes in the plane that holds every slice whole.

    The slice distance is one that is common among the finer ones: the 0.2 quantile.
    """
    step = float(np.quantile(stack.gaps, _COMMON, method="lower")) if len(stack.gaps) else stack.thickness
    low = np.floor(stack.shifts.min(axis=0) + 1e-6).astype(int)
    high = np.ceil(stack.shifts.max(axis=0) - 1e-6).astype(int)
    count = round(float(stack.depths[-1]) / step) + 1
    axes = np.stack([stack.row * stack.spacing[0], stack.column * stack.spacing[1], stack.normal * step], axis=1)
    origin = stack.origins[0] + axes[:, :2] @ low
    width, height = np.array(stack.shape) + high - low
    return RegularGrid(
        shape=(int(width), int(height), count),
        affine=affine_from_axes(axes, origin=origin),
        first=(int(low[0]), int(low[1])),
        step=step,
    )


def resample(stack: SliceStack, slices: NDArray[np.float32], *, grid: RegularGrid, fill: float) -> NDArray[np.float32]:
    """The stack's `slices` (N, J, I) on `grid`, (K, J, I); `fill` where the nearest slice does not reach."""
    out = np.empty(grid.shape[::-1], dtype=np.float32)
    with progress.bar("regular grid", total=len(out)) as advance:
        for k in range(len(out)):
            total = np.zeros(out.shape[1:], dtype=np.float32)
            covered = np.zeros_like(total)
            for index, weight in _neighbours(stack.depths, depth=k * grid.step).items():
                values, inside = _moved(slices[index], shift=stack.shifts[index], grid=grid)
                total += np.float32(weight) * np.where(inside, values, 0)
                covered += np.float32(weight) * inside
            out[k] = np.where(covered >= 0.5 - 1e-4, total / np.maximum(covered, 1e-4), fill)
            advance()
    return np.clip(out, min(slices.min(), fill), slices.max(), out=out)  # what rounding put beyond


def _neighbours(depths: Vector, *, depth: float) -> dict[int, float]:
    """The slices beside a depth, with their weights; beyond the last it is the last."""
    if len(depths) == 1:
        return {0: 1.0}
    above = int(np.clip(np.searchsorted(depths, depth), 1, len(depths) - 1))
    share = float(np.clip((depth - depths[above - 1]) / (depths[above] - depths[above - 1]), 0.0, 1.0))
    weights = {above - 1: 1.0 - share, above: share}
    return {index: weight for index, weight in weights.items() if weight > 0}


def _moved(
    plane: NDArray[np.float32], *, shift: Vector, grid: RegularGrid
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A slice (J, I) on the grid's plane, and where it reaches."""
    rows, rows_inside = _line(plane, axis=0, start=grid.first[1] - shift[1], count=grid.shape[1])
    both, columns_inside = _line(rows, axis=1, start=grid.first[0] - shift[0], count=grid.shape[0])
    return both, rows_inside[:, None] & columns_inside[None, :]


def _line(
    values: NDArray[np.float32], *, axis: int, start: float, count: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Linear interpolation along one axis at start, start + 1, ..."""
    length = values.shape[axis]
    where = np.round(start + np.arange(count), 6)  # so that whole shifts copy voxels
    lower = np.floor(where).astype(int)
    share = (where - lower).astype(np.float32)
    share = share[:, None] if axis == 0 else share[None, :]
    first = values.take(np.clip(lower, 0, length - 1), axis=axis)
    second = values.take(np.clip(lower + 1, 0, length - 1), axis=axis)
    return first + share * (second - first), (where >= 0) & (where <= length - 1)
