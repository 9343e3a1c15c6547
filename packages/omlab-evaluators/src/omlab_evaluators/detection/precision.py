"""Average precision of boxes in the order of their scores, for any weights of the cases that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array  # type: ignore[import-untyped]

from omlab_evaluators.detection.matching import OVERLAPS, SIZES

Floats = NDArray[np.float64]

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where COCO reads the precision off."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The found boxes of one class in all cases, the surest first; ties in the order of cases and frames, as COCO's.

    Attributes:
        name: Of the class.
        scores: (n,).
        hits: (n, sizes): bits by overlap (`omlab_evaluators.detection.matching.Matches`).
        false: Likewise.
        cases: The place of each box's case, (n,).
        positives: References by case and size, (cases, sizes).
    """

    name: str
    scores: Floats
    hits: NDArray[np.uint16]
    false: NDArray[np.uint16]
    cases: NDArray[np.int64]
    positives: Floats

    def at(self, *, size: int, overlap: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which boxes are hits, and which false alarms."""
        return tuple((bits[:, size] >> overlap & 1).astype(bool) for bits in (self.hits, self.false))  # type: ignore[return-value]

    @cached_property
    def rests_on(self) -> NDArray[np.bool_]:
        """Cases that have a reference of each size, (sizes, cases)."""
        return (self.positives > 0).T


def average_precision(hits: Floats, false: Floats, positives: Floats) -> Floats:
    """The mean precision at 101 recalls, each the best of that recall or a higher one.

    Args:
        hits: How many hits are added at each step of a falling score, (rounds, steps).
        false: How many false alarms.
        positives: How many references there are, (rounds,).

    Returns:
        (rounds,); NaN without a reference.
    """
    found, wrong = hits.cumsum(axis=1), false.cumsum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = found / positives[:, None]
    precision = found / (found + wrong + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)
    gained = np.diff(reached, axis=1, prepend=0)
    return np.where(positives > 0, (best * gained).sum(axis=1) / len(RECALLS), np.nan)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A class's boxes by case, put together to at most `count` steps of a falling score, each of as many boxes.

    With as many steps as boxes the average precision is exactly that of all boxes one by one.
    """

    boxes: Ranked
    count: int

    def precisions(self, weights: Floats) -> Floats:
        """Average precision by size and overlap where cases count so often: (rounds, cases) to (rounds, sizes, 10)."""
        positives = weights @ self.boxes.positives
        found = np.empty((len(weights), len(SIZES), len(OVERLAPS)))
        for size in range(len(SIZES)):
            for overlap in range(len(OVERLAPS)):
                hits, false = (self._added(part, weights) for part in self.boxes.at(size=size, overlap=overlap))
                found[:, size, overlap] = average_precision(hits, false, positives[:, size])
        return found

    @cached_property
    def _step(self) -> NDArray[np.int64]:
        """The step of each box."""
        number = len(self.boxes.scores)
        return np.arange(number) * min(self.count, number) // max(number, 1)

    def _added(self, flags: NDArray[np.bool_], weights: Floats) -> Floats:
        """How many of the flagged boxes each step adds, (rounds, steps)."""
        places = (self._step[flags], self.boxes.cases[flags])
        shape = (min(self.count, len(flags)), weights.shape[1])
        table = csr_array((np.ones(len(places[0])), places), shape=shape)
        return np.asarray((table @ weights.T).T)
