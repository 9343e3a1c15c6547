"""How far two surfaces are apart: normalised surface Dice and the 95th percentile of the distances.

Both figures rest on the same two lists: for each surfel (see `omlab_evaluators.segmentation.surfels`) of one mask its
area and its distance to the nearest surfel of the other mask, both masks pooled.

- NSD at a tolerance: the fraction of the pooled area that lies within the tolerance (Nikolov et al. 2018).
- HD95: the least distance within which 95 % of the pooled area lies. So NSD at tolerance t is at least
  0.95 exactly where HD95 is at most t. (Other software takes border voxels instead of surfels, or the
  larger of the two directions' percentiles; figures differ by fractions of a voxel.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree  # type: ignore[import-untyped]

from omlab_evaluators.segmentation.surfels import Floats, areas, codes

SLACK_MM = 1e-4
"""Distances this much above a tolerance still count as within it: spacings are stored in single precision."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances (mm) of the surfels of both masks to the other mask's surface, with their areas (mm²).

    Both arrays are (n,), sorted by distance.
    """

    distances: Floats
    areas: Floats

    def within(self, tolerance: float) -> float:
        """The fraction of the area within `tolerance` mm of the other surface."""
        near = self.areas[: np.searchsorted(self.distances, tolerance + SLACK_MM, side="right")]
        return float(min(near.sum() / self.areas.sum(), 1.0))

    def percentile(self, percent: float) -> float:
        """The least distance within which `percent` of the area lies."""
        cumulated = np.cumsum(self.areas)
        # Rounding in the sum must not push the answer to the next surfel.
        index = np.searchsorted(cumulated, cumulated[-1] * (percent / 100) * (1 - 1e-12))
        return float(self.distances[min(index, len(self.distances) - 1)])


def surface_distances(reference: NDArray[Any], prediction: NDArray[Any], *, axes: Floats) -> SurfaceDistances | None:
    """Compare the surfaces of two masks (I, J, K) of one shape; None where one of them is empty.

    `axes` (3, 3) has the edge of a voxel along i, j, k as its columns, in mm: `affine[:3, :3]`, or
    `np.diag(spacing)`.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"The masks have different shapes: {reference.shape} and {prediction.shape}.")
    if not (reference.any() and prediction.any()):
        return None
    box = bounding_box(reference | prediction)
    first, second = codes(reference[box]), codes(prediction[box])
    points, others = _surface(first), _surface(second)
    table = areas(np.asarray(axes, dtype=np.float64))
    distances = np.concatenate(
        [_nearest(points, others, taken=second, axes=axes), _nearest(others, points, taken=first, axes=axes)]
    )
    sizes = np.concatenate([table[first[tuple(points.T)]], table[second[tuple(others.T)]]])
    order = np.argsort(distances, kind="stable")
    return SurfaceDistances(distances[order], sizes[order])


def surface_dice(
    distances: SurfaceDistances | None, *, tolerance: float, both_empty: bool, empty_value: float = math.nan
) -> float:
    """NSD at `tolerance` mm; 0 where one mask is empty, `empty_value` where both are."""
    if distances is None:
        return empty_value if both_empty else 0.0
    return distances.within(tolerance)


def bounding_box(mask: NDArray[Any]) -> tuple[slice, slice, slice]:
    """The smallest box around the true voxels of `mask` (I, J, K), which has some."""
    slices = []
    for axis in range(3):
        # Reducing the last axis first keeps the passes over memory contiguous.
        others = tuple(a for a in (2, 1, 0) if a != axis)
        present = np.flatnonzero(mask.any(axis=others))
        slices.append(slice(int(present[0]), int(present[-1]) + 1))
    return slices[0], slices[1], slices[2]


def _is_surface(code: NDArray[np.uint8]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = (code != 0) & (code != 255)
    return result


def _surface(code: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Indices (n, 3) of the surfels."""
    return np.argwhere(_is_surface(code))


def _nearest(points: NDArray[np.intp], others: NDArray[np.intp], *, taken: NDArray[np.uint8], axes: Floats) -> Floats:
    """Distance (mm) of each of `points` to the nearest of `others`; `taken` are the others' codes."""
    result = np.zeros(len(points))
    # Where the surfaces touch the distance is zero; only the rest needs a search.
    apart = ~_is_surface(taken)[tuple(points.T)]
    if apart.any():
        steps = np.asarray(axes, dtype=np.float64).T
        tree = cKDTree(others @ steps, balanced_tree=False, compact_nodes=False)
        _, found = tree.query(points[apart] @ steps)
        # From whole-numbered steps, so that a shift of n voxels has exactly the length of n voxels.
        result[apart] = np.linalg.norm((points[apart] - others[found]) @ steps, axis=1)
    return result
