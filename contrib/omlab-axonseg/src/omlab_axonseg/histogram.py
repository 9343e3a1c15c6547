"""How axons are spread within each region: how much of it is how dense, in cubes of a given size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_volume.volume import LabelMap

EDGES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of axon voxels between which cubes are counted; the first bin holds those without any."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The cubes of one region whose share of axon voxels lies above `density_above`, up to `density_up_to`."""

    region: str
    value: int
    density_above: float
    density_up_to: float
    cubes: int
    volume_mm3: float


def histogram(axons: LabelMap, regions: LabelMap, *, side_mm: float) -> list[Bin]:
    """Rows by region and density. A cube at the border of regions counts in each with its voxels there alone.

    Raises:
        InputError: `side_mm` is below a voxel, or there is no region.
    """
    names = regions.present()
    if not names:
        raise InputError("The label map of regions is empty: there is no region to count axons in.")
    spacing = axons.grid.spacing
    if not max(spacing) <= side_mm < math.inf:
        raise InputError(f"A cube of {side_mm} mm is no cube of voxels of {max(spacing):.3g} mm: give a larger one.")
    sides = [max(1, round(side_mm / step)) for step in spacing]
    cubes = _numbered(regions.array.shape, sides)
    size = int(max(names)) + 1
    places, number = np.unique(cubes.astype(np.int64) * size + regions.array, return_inverse=True)
    voxels = np.bincount(number.reshape(-1))
    found = np.bincount(number.reshape(-1), weights=(axons.array > 0).reshape(-1))
    bins = np.searchsorted(np.array(EDGES), found / voxels, side="left")  # 0: none, n: up to edge n
    voxel = float(abs(np.linalg.det(axons.affine[:3, :3])))
    rows = []
    for value, name in sorted(names.items()):
        own = places % size == value
        counts = np.bincount(bins[own], minlength=len(EDGES))
        volumes = np.bincount(bins[own], weights=voxels[own], minlength=len(EDGES))
        for at, edge in enumerate(EDGES):
            rows.append(
                Bin(
                    region=name,
                    value=value,
                    density_above=EDGES[max(at - 1, 0)],
                    density_up_to=edge,
                    cubes=int(counts[at]),
                    volume_mm3=voxel * float(volumes[at]),
                )
            )
    return rows


def _numbered(shape: tuple[int, ...], sides: list[int]) -> NDArray[np.int64]:
    """The number of the cube of each voxel."""
    number = np.zeros((1, 1, 1), np.int64)
    for axis, (length, side) in enumerate(zip(shape, sides, strict=True)):
        along = np.arange(length) // side
        number = number * (int(along[-1]) + 1) + along.reshape([-1 if n == axis else 1 for n in range(3)])
    return number
