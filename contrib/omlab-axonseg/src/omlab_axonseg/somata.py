"""Where somata (cell bodies) lie: a table of positions, points, or a label map whose connected parts are somata."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

import omlab
from omlab.errors import InputError, OmlabWarning
from omlab_payloads.points import Points
from omlab_volume.volume import LabelMap

WORLD, VOXEL = ("x", "y", "z"), ("i", "j", "k")
_TABLES = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Somata:
    """Positions (N, 3): mm, RAS+ (`world`), or i, j, k of the regions' file (`voxel`)."""

    at: NDArray[np.float64]
    space: str


@dataclass(frozen=True, kw_only=True)
class SomaDensity:
    """The somata of one region."""

    region: str
    value: int
    volume_mm3: float
    somata: int
    soma_density_per_mm3: float


def read_somata(path: Path) -> Somata:
    """The somata of a file: a table (.csv, .tsv), points (.json), or a label map. Raises `InputError`."""
    if path.suffix.lower() in _TABLES:
        return _of_table(path)
    if path.suffix.lower() == ".json":
        points = omlab.read(path, kind="points")
        if not isinstance(points, Points) or points.space == "pixel":
            raise InputError(f"{path} holds no points in a volume: somata are in 'world' or 'voxel' space.")
        at = np.array([point.at for point in points.points], np.float64).reshape(-1, 3)
        return Somata(at=at, space=points.space)
    labels = omlab.read(path, kind="labelmap")
    if not isinstance(labels, LabelMap):
        raise InputError(f"{path} is a {labels.kind}: somata are a table, points or a label map.")
    return centres(labels)


def centres(labels: LabelMap) -> Somata:
    """The centre of each part (26-connected) of what is labelled, whatever its values."""
    parts, count = ndimage.label(labels.array > 0, np.ones((3, 3, 3)))
    middles = ndimage.center_of_mass(parts > 0, parts, np.arange(1, count + 1))
    voxels = np.array(middles, np.float64).reshape(-1, 3)
    return Somata(at=voxels @ labels.affine[:3, :3].T + labels.affine[:3, 3], space="world")


def soma_densities(somata: Somata, regions: LabelMap) -> list[SomaDensity]:
    """A row for each region, by value: how many somata have their centre in it. Warns of those that lie in none.

    Raises:
        InputError: There is no region.
    """
    names = regions.present()
    if not names:
        raise InputError("The label map of regions is empty: there is no region to count somata in.")
    found = values_at(somata, regions)
    size = int(max(names)) + 1
    counts, voxels = (np.bincount(values.reshape(-1), minlength=size) for values in (found, regions.array))
    beside = len(found) - int(sum(counts[value] for value in names))
    if beside:
        warnings.warn(
            f"{beside} of {len(found)} somata lie in no region: do both lie in one space (mm, RAS+)?",
            OmlabWarning,
            stacklevel=2,
        )
    voxel = float(abs(np.linalg.det(regions.affine[:3, :3])))
    return [
        SomaDensity(
            region=name,
            value=value,
            volume_mm3=voxel * int(voxels[value]),
            somata=int(counts[value]),
            soma_density_per_mm3=int(counts[value]) / (voxel * int(voxels[value])),
        )
        for value, name in sorted(names.items())
    ]


def values_at(somata: Somata, regions: LabelMap) -> NDArray[Any]:
    """The value of the region at each soma, that of its nearest voxel; 0 outside of the label map."""
    at = somata.at
    if somata.space == "world":
        back = np.linalg.inv(regions.affine)
        at = at @ back[:3, :3].T + back[:3, 3]
    nearest = np.floor(at + 0.5)
    inside = ((nearest >= 0) & (nearest < regions.array.shape)).all(axis=1)
    values = np.zeros(len(at), regions.array.dtype)
    values[inside] = regions.array[tuple(nearest[inside].astype(np.int64).T)]
    return values


def _of_table(path: Path) -> Somata:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream, delimiter=_TABLES[path.suffix.lower()]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table of somata: {error}") from error
    heading = [column.strip().lower() for column in rows[0]] if rows else []
    columns = next((names for names in (WORLD, VOXEL) if set(names) <= set(heading)), None)
    if columns is None:
        raise InputError(
            f"{path} has the columns {', '.join(heading) or 'none'}: a table of somata has x, y, z (mm, RAS+), or "
            "i, j, k (voxels of the regions' file)."
        )
    places = [heading.index(name) for name in columns]
    at = [_numbers(row, places, where=f"{path}, line {number}") for number, row in enumerate(rows[1:], start=2) if row]
    return Somata(at=np.array(at, np.float64).reshape(-1, 3), space="world" if columns == WORLD else "voxel")


def _numbers(row: Sequence[str], places: Sequence[int], *, where: str) -> list[float]:
    try:
        numbers = [float(row[place]) for place in places]
    except (IndexError, ValueError):
        raise InputError(f"{where}: a soma has three numbers, but '{', '.join(row)}' stands there.") from None
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: the position of a soma is not finite.")
    return numbers
