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
    ours, theirs, both = (int(np.count_nonzero(one)) for one in (reference, prediction, reference & prediction))
    return dice_of_counts(ours, theirs, both=both, empty_value=empty_value)


def dice_of_counts(reference: int, prediction: int, *, both: int, empty_value: float = math.nan) -> float:
    """`dice` of masks with so many voxels, `both` of them shared."""
    total = reference + prediction
    return 2 * both / total if total else empty_value


def volume_ml(voxels: int, *, axes: NDArray[np.float64]) -> float:
    """The volume in millilitres of so many voxels whose edges (mm) are the columns of `axes` (3, 3)."""
    return voxels * abs(float(np.linalg.det(axes))) / MM3_PER_ML
