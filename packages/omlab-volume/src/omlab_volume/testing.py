"""Example volumes and label maps for the test kit (entry-point groups `omlab_testkit.examples` and `.odd`).

Everything is small and computed, the same each time. The n-th volume and the n-th label map show the
same thing on the same grid: an axis-aligned anisotropic one, one with permuted and flipped axes, an
oblique one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_volume.volume import Grid, Label, LabelMap, Volume

LABELS = (
    Label(value=1, name="organ", colour=(200, 60, 40)),
    Label(value=2, name="bone", colour=(240, 230, 200)),
)


def example_grids() -> list[Grid]:
    """Three grids: anisotropic, permuted and flipped, oblique."""
    plain = np.diag([1.5, 1.5, 4.0, 1.0])
    plain[:3, 3] = [-20.0, 35.0, 110.0]
    flipped = np.array([[0, 0, 2.0, -15], [-1.1, 0, 0, 22], [0, -1.3, 0, 40], [0, 0, 0, 1]])
    turn, tilt = math.radians(20), math.radians(-12)
    about_z = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    oblique = np.eye(4)
    oblique[:3, :3] = about_z @ about_x @ np.diag([-0.9, 1.2, 2.5])
    oblique[:3, 3] = [7.0, -31.0, 2.5]
    return [Grid((22, 18, 10), plain), Grid((14, 19, 16), flipped), Grid((20, 21, 12), oblique)]


def example_volumes(*, channels: int = 1) -> list[Volume]:
    """CT-like volumes in HU: air around an ellipsoid of soft tissue with an organ and a bone inside."""
    return [
        Volume(array=np.stack([_intensity(grid) + 10 * c for c in range(channels)]), affine=grid.affine, intensity="hu")
        for grid in example_grids()
    ]


def example_labelmaps() -> list[LabelMap]:
    """The organ (1) and the bone (2) of `example_volumes`."""
    return [LabelMap(array=_classes(grid), affine=grid.affine, labels=LABELS) for grid in example_grids()]


def odd_volumes() -> dict[str, Volume]:
    """Volumes that a model meets rarely: with NaN, constant, of one voxel, of one slice, of integers, huge values."""
    grid = example_grids()[0]
    image = _intensity(grid)[None]
    holed = image.copy()
    holed[0, ::3, 1, :] = np.nan
    arrays: dict[str, NDArray[Any]] = {
        "nan": holed,
        "all-nan": np.full_like(image, np.nan),
        "constant": np.zeros_like(image),
        "one-voxel": image[:, :1, :1, :1],
        "one-slice": image[:, :, :, :1],
        "integers": image.astype(np.int16),
        "huge-values": image * np.float32(1e30),
    }
    return {name: Volume(array=array, affine=grid.affine, intensity="hu") for name, array in arrays.items()}


def odd_labelmaps() -> dict[str, LabelMap]:
    """Label maps without a class, of one voxel, and with a value far beyond the others."""
    grid = example_grids()[0]
    classes = _classes(grid)
    far = classes.astype(np.uint16)
    far[0, 0, 0] = 60000
    arrays: dict[str, NDArray[Any]] = {
        "empty": np.zeros_like(classes),
        "one-voxel": classes[:1, :1, :1],
        "far-value": far,
    }
    return {name: LabelMap(array=array, affine=grid.affine) for name, array in arrays.items()}


def _unit_coordinates(grid: Grid) -> tuple[NDArray[np.float64], ...]:
    """Coordinates of the voxel centres from -1 to 1 along i, j, k."""
    return tuple(np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij"))


def _classes(grid: Grid) -> NDArray[np.uint8]:
    i, j, k = _unit_coordinates(grid)
    classes = np.zeros(grid.shape, dtype=np.uint8)
    classes[(i + 0.3) ** 2 / 0.12 + j**2 / 0.2 + k**2 / 0.4 < 1] = 1
    classes[(i - 0.5) ** 2 / 0.03 + j**2 / 0.05 + k**2 / 0.9 < 1] = 2
    return classes


def _intensity(grid: Grid) -> NDArray[np.float32]:
    i, j, k = _unit_coordinates(grid)
    body = i**2 + j**2 + k**2 / 2 < 1.1
    values = np.where(body, 20.0, -1000.0) + np.array([0.0, 70.0, 500.0])[_classes(grid)]
    texture = 8 * np.sin(37 * i + 3) * np.cos(29 * j) + 5 * np.sin(53 * k + 11 * i)
    return np.asarray(values + texture, dtype=np.float32)
