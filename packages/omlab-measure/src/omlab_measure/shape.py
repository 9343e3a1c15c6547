"""Size and form of one structure: volume with bounds, surface, moments; definitions as in pyradiomics 3.

The surface is that of marching cubes at level 1/2 (`omlab_evaluators.segmentation.surfels`); axes are those of the
ellipsoid with the voxels' second moments.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from omlab_evaluators.segmentation.surfels import areas, codes, shares
from omlab_measure.regions import Mask, Region, inner_voxels, outer_count

Floats = NDArray[np.float64]
MM3_PER_ML = 1000.0


class Bounds(NamedTuple):
    """A figure with what it may be at least and at most."""

    value: float
    low: float
    high: float


def volume(region: Region, *, axes: Floats, inner: Mask | None = None) -> Bounds:
    """The volume in ml, voxel by voxel, and what voxels at the border leave open.

    The bounds hold for the structure that was labelled if every voxel has the label of what fills at least half of it:
    a labelled voxel at the border may be only half full, and one beside it, without the label, half full as well. They
    say nothing of whether the border was found in the right place.

    Args:
        region: The structure.
        axes: (3, 3), the edges of a voxel in mm as columns.
        inner: `inner_voxels` of its mask, where they are known.
    """
    voxel = abs(float(np.linalg.det(axes))) / MM3_PER_ML
    count = int(np.count_nonzero(region.mask))
    border = count - int(np.count_nonzero(inner_voxels(region.mask) if inner is None else inner))
    beside = outer_count(region.mask)
    return Bounds(count * voxel, (count - border / 2) * voxel, (count + beside / 2) * voxel)


def surface(mask: Mask, *, axes: Floats) -> tuple[float, float]:
    """Area (mm²) of the surface of a mask, and the volume (mm³) inside it."""
    found = codes(mask)
    crossed = found[(found != 0) & (found != 255)]
    counts = np.bincount(crossed, minlength=256)
    whole = int(np.count_nonzero(found == 255))
    inside = (float(counts @ shares()) + whole) * abs(float(np.linalg.det(axes)))
    return float(counts @ areas(axes)), inside


def sphericity(area: float, inside: float) -> float:
    """The area of a ball of that volume (mm³) over `area` (mm²): 1 for a ball."""
    return float((36 * math.pi * inside**2) ** (1 / 3) / area)


class Moments(NamedTuple):
    """Where a structure lies and how it spreads: centroid (3,) in mm (RAS+), lengths of its three axes in mm."""

    centroid: Floats
    lengths: Floats


def moments(region: Region, *, affine: Floats) -> Moments:
    """Centroid and axes (largest first, four standard deviations each) of a structure's voxel centres."""
    mean, covariance = _spread(region.mask)
    axes = affine[:3, :3]
    centroid = affine[:3] @ np.array([*(region.corner + mean), 1.0])
    values = np.linalg.eigvalsh(axes @ covariance @ axes.T)[::-1]
    return Moments(centroid, 4 * np.sqrt(np.clip(values, 0, None)))


def _spread(mask: Mask) -> tuple[Floats, Floats]:
    """Mean (3,) and covariance (3, 3) of the voxels of a mask, in voxels; from its sums along each axis."""
    # a plane of sums for each pair of axes: an index for every voxel would take eight times the image
    planes = {(a, b): _summed(mask, along=c) for a, b, c in ((0, 1, 2), (0, 2, 1), (1, 2, 0))}
    lines = [planes[0, 1].sum(axis=1), planes[0, 1].sum(axis=0), planes[0, 2].sum(axis=0)]
    count = lines[0].sum()
    steps = [np.arange(n, dtype=np.float64) for n in mask.shape]
    mean = np.array([line @ step / count for line, step in zip(lines, steps, strict=True)])
    away = [step - middle for step, middle in zip(steps, mean, strict=True)]
    covariance = np.diag([line @ gap**2 / count for line, gap in zip(lines, away, strict=True)])
    for (a, b), plane in planes.items():
        covariance[a, b] = covariance[b, a] = away[a] @ plane @ away[b] / count
    return mean, covariance


def _summed(mask: Mask, *, along: int) -> Floats:
    """The voxels of a mask counted along an axis."""
    return np.asarray(np.add.reduce(mask.view(np.uint8), axis=along, dtype=np.uint32), dtype=np.float64)
