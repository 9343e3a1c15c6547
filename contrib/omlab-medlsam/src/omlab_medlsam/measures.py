"""How far a found box is from the right one: overlap, and distance of the walls in mm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Corners = NDArray[np.float64]
_LEAST = 1e-8


def box_iou(first: Corners, second: Corners) -> float:
    """Intersection over union of two boxes (2, 3), without adding a voxel to their sides; 1e-8 is added to both."""
    sides = np.minimum(first[1], second[1]) - np.maximum(first[0], second[0])
    common = float(np.prod(np.maximum(sides, 0)))
    both = float(np.prod(first[1] - first[0]) + np.prod(second[1] - second[0]))
    return (common + _LEAST) / (both - common + _LEAST)


def wall_distance(first: Corners, second: Corners, *, spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances in mm between the walls of two boxes (2, 3), the mean of both walls of each axis, (3,).

    WD of the paper is the mean over axes.
    """
    return np.asarray(np.abs(first - second).mean(0) * spacing)
