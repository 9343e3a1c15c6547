"""Whether probabilities mean what they say: bins of equal width, for the expected calibration error and the curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 15
"""As in Guo et al. (2017)."""


@dataclass(frozen=True)
class Bin:
    """What was said and what came true in one bin: mean probability, share that came true, how many there were."""

    said: float
    true: float
    count: int


def bin_of(said: Floats) -> NDArray[np.int64]:
    """The bin of each probability; 1 belongs to the last."""
    return np.minimum((said * BINS).astype(np.int64), BINS - 1)


def gaps(said: Floats, true: Floats, counted: NDArray[np.bool_]) -> Floats:
    """By case and bin what was said beyond what came true, (cases, bins).

    Args:
        said: Probabilities, (cases, statements).
        true: What came true of them, 0 or 1.
        counted: Which statements count.
    """
    found = np.zeros((len(said), BINS))
    rows = np.broadcast_to(np.arange(len(said))[:, None], said.shape)
    np.add.at(found, (rows[counted], bin_of(said[counted])), (said - true)[counted])
    return found


def bins(said: Floats, true: Floats) -> list[Bin]:
    """The bins that are not empty, of statements that count, (statements,) both."""
    place = bin_of(said)
    return [
        Bin(float(said[place == n].mean()), float(true[place == n].mean()), int((place == n).sum()))
        for n in range(BINS)
        if (place == n).any()
    ]
