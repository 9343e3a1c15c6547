"""Harrell's concordance index, for many resamplings at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

AT_ONCE = 4_000_000
"""Pairs of a block: some 32 MB, however many cases there are."""

ALIKE = 1e-8
"""Risks that are closer are equal."""


def concordance(times: Floats, events: Flags, risks: Floats, weights: Floats) -> Floats:
    """The share of comparable pairs in which the case with the higher risk had its event first, (rounds,).

    A pair is comparable where it is known who had the event first: the earlier time is that of an event, or at equal
    times one had it and the other was not followed further. Equal risks count half (Harrell, Lee and Mark, Statistics
    in Medicine 15, 1996). NaN where no pair is comparable.

    Args:
        times: Of event or end of follow-up, (cases,).
        events: Whether it was an event.
        risks: The higher, the sooner the event is expected.
        weights: How often each case counts in each round, (rounds, cases).
    """
    concordant, comparable = np.zeros(len(weights)), np.zeros(len(weights))
    rows = max(1, AT_ONCE // max(1, len(times)))
    firsts = np.flatnonzero(events)
    for begun in range(0, len(firsts), rows):
        first = firsts[begun : begun + rows]
        is_later = (times > times[first, None]) | ((times == times[first, None]) & ~events)
        difference = risks[first, None] - risks
        agreement = np.where(np.abs(difference) <= ALIKE, 0.5, difference > 0) * is_later
        mine = weights[:, first]
        comparable += np.einsum("rn,rn->r", mine, weights @ is_later.T.astype(np.float64))
        concordant += np.einsum("rn,rn->r", mine, weights @ agreement.T)
    found: Floats = np.divide(concordant, comparable, out=np.full(len(weights), np.nan), where=comparable > 0)
    return found
