"""How dense axons are in each region of a brain: a table of voxels, volumes and lengths."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

import numpy as np

from omlab.errors import InputError
from omlab_axonseg.annotation import centre_lines
from omlab_axonseg.somata import SomaDensity
from omlab_volume.volume import LabelMap

_STEPS = [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) > (0, 0, 0)]
"""Half of the 26 neighbours: each pair once."""


@dataclass(frozen=True, kw_only=True)
class Density:
    """The axons of one region. `density` is the share of its voxels, `length_density` mm of centre line in a mm3."""

    region: str
    value: int
    volume_mm3: float
    voxels: int
    axon_voxels: int
    axon_mm3: float
    density: float
    length_mm: float
    length_density_mm_per_mm3: float


def densities(axons: LabelMap, regions: LabelMap) -> list[Density]:
    """A row for each region, by value; where both maps lie on one grid.

    The length is that of the 3-D skeleton: between neighbouring voxels of it their distance, half in the region of
    each. Voxels that touch at a corner beside a shared edge count once more than the line is long: an upper estimate.

    Raises:
        InputError: The grids differ, or there is no region.
    """
    if not axons.same_grid(regions):
        raise InputError(
            f"The axons have {axons.grid.shape} voxels and the regions {regions.grid.shape}, or they lie apart: bring "
            "the regions onto the axons' grid first (omlab register gives the transform)."
        )
    names = regions.present()
    if not names:
        raise InputError("The label map of regions is empty: there is no region to count axons in.")
    mask = axons.array > 0
    size = int(max(names)) + 1
    voxels = np.bincount(regions.array.reshape(-1), minlength=size)
    found = np.bincount(regions.array[mask], minlength=size)
    lengths = _lengths(axons, regions, size=size)
    voxel = float(abs(np.linalg.det(axons.affine[:3, :3])))
    rows = []
    for value, name in sorted(names.items()):
        volume, count = voxel * int(voxels[value]), int(found[value])
        rows.append(
            Density(
                region=name,
                value=value,
                volume_mm3=volume,
                voxels=int(voxels[value]),
                axon_voxels=count,
                axon_mm3=voxel * count,
                density=count / int(voxels[value]),
                length_mm=float(lengths[value]),
                length_density_mm_per_mm3=float(lengths[value]) / volume,
            )
        )
    return rows


def table(rows: Sequence[Any], *, beside: Sequence[SomaDensity] = ()) -> str:
    """Rows (instances of one of this package's dataclasses) as CSV, with units in the names of columns.

    `beside` are rows of the same regions, whose further columns are added.
    """
    values = [asdict(row) for row in rows]
    if beside:
        values = [row | asdict(more) for row, more in zip(values, beside, strict=True)]
    text = StringIO()
    writer = csv.DictWriter(text, list(values[0]), lineterminator="\n")
    writer.writeheader()
    for row in values:
        writer.writerow({name: _short(value) for name, value in row.items()})
    return text.getvalue()


def _lengths(axons: LabelMap, regions: LabelMap, *, size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mm of centre line by region."""
    line = centre_lines(axons.array > 0)
    lengths = np.zeros(size)
    for step in _STEPS:
        distance = float(np.linalg.norm(axons.affine[:3, :3] @ np.array(step)))
        here = tuple(slice(max(-n, 0), size_ - max(n, 0)) for n, size_ in zip(step, line.shape, strict=True))
        there = tuple(slice(max(n, 0), size_ + min(n, 0)) for n, size_ in zip(step, line.shape, strict=True))
        both = line[here] & line[there]
        for side in (here, there):
            lengths += distance / 2 * np.bincount(regions.array[side][both], minlength=size)
    return lengths


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else value
