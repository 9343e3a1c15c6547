"""How much two masks overlap, and how large they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

MM3_PER_ML = 1000.0


def dice(reference: NDArray[Any], prediction: NDArray[Any], *, empty_value: float = math.nan) -> float:
    """2 |A and B| / (|A| + |B|) of two masks of one shape (Dice 1945); `empty_value` where both are empty."""
    if reference.shape != prediction.shape:
        raise ValueError(f"The masks have different shapes: {reference.shape} and {prediction.shape}.")
    total = int(np.count_nonzero(reference)) + int(np.count_nonzero(prediction))
    if total == 0:
        return empty_value
    return 2 * int(np.count_nonzero(reference & prediction)) / total


def volume_ml(voxels: int, *, axes: NDArray[np.float64]) -> float:
    """The volume in millilitres of so many voxels whose edges (mm) are the columns of `axes` (3, 3)."""
    return voxels * abs(float(np.linalg.det(axes))) / MM3_PER_ML
