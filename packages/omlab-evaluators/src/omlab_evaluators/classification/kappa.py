"""Agreement of ordered classes beyond chance (Cohen 1968), for many resamplings at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def quadratic_kappa(right: Flags, predicted: Flags, weights: Floats) -> Floats:
    """Cohen's kappa with quadratic weights in each round, (rounds,); NaN where chance alone would always agree.

    1 - sum_ij (i - j)^2 O_ij / sum_ij (i - j)^2 E_ij, with O how often class i is predicted as j, and E how often it
    would be if both were independent. It says something of classes that are in order, such as grades.

    Args:
        right: The right class of each case, (cases, classes), one each.
        predicted: Likewise.
        weights: How often each case counts in each round, (rounds, cases).
    """
    order = np.arange(right.shape[1], dtype=np.float64)
    is_judged = right.any(axis=1) & predicted.any(axis=1)
    weights = weights * is_judged
    theirs, ours = right @ order, predicted @ order
    observed = weights @ (theirs - ours) ** 2
    reference, result = weights @ right, weights @ predicted  # (rounds, classes)
    total = weights.sum(axis=1)
    distances = (order[:, None] - order) ** 2
    expected = np.einsum("ri,ij,rj->r", reference, distances, result)
    share: Floats = np.divide(observed * total, expected, out=np.full(len(weights), np.nan), where=expected > 0)
    return 1 - share
