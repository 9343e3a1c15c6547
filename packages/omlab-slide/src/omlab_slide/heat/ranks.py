"""Percentiles of scores: where each stands among the others, or among those of a reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omlab.errors import InputError


def percentiles(scores: ArrayLike, *, among: ArrayLike | None = None) -> NDArray[np.float64]:
    """The percentile of each score, above 0 and up to 100: its rank (ties share their average) / n * 100.

    Sorted once, O((n + m) log n): a fine, overlapping map of m scores is ranked among the n of a coarse one, as CLAM's
    heat maps are.

    Args:
        scores: (m,).
        among: (n,), the scores that are ranked against; None: the scores themselves.

    Raises `InputError` where a score is NaN, or there is nothing to rank against.
    """
    values = np.asarray(scores, np.float64)
    reference = np.sort(values if among is None else np.asarray(among, np.float64))
    if not reference.size:
        raise InputError("There are no scores to rank against.")
    if np.isnan(reference[-1]) or np.isnan(values).any():
        raise InputError("A score is NaN: it has no rank.")
    below = np.searchsorted(reference, values, side="left")
    up_to = np.searchsorted(reference, values, side="right")
    return np.asarray((below + up_to + (up_to > below)) * (50.0 / reference.size), np.float64)
