"""ROC and precision-recall curves of a class with bands: how they vary with the choice of patients."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab_evaluators.bootstrap import PERCENTILES, draws_of
from omlab_evaluators.classification.summary import Judged

Floats = NDArray[np.float64]

GRID = np.linspace(0, 1, 101)
"""Where bands are given: false positive rates, and recalls."""

TINY = 1e-9
"""The least recall: a threshold above all cases of the class reaches none."""

ROUNDS = 300
"""Of the bootstrap of bands, at most: they are drawn a line wide."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve by its corners (x, y), and the 95 % band of y over `GRID`; None where it rests on one patient."""

    x: Floats
    y: Floats
    low: Floats | None
    high: Floats | None


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Both curves of a class; `share` is that of the cases that are of it, the precision of guessing."""

    name: str
    roc: Curve
    precision_recall: Curve
    share: float


def curves_of(
    judged: Judged, groups: Sequence[Hashable], *, places: Sequence[int], rounds: int, seed: int
) -> list[Curves]:
    """The curves of the classes at `places` that have cases of both sides.

    Args:
        judged: The cases.
        groups: For each whose it is.
        places: Of classes among the names.
        rounds: Of the bootstrap.
        seed: Of the bootstrap.
    """
    found = []
    for k in places:
        mask = judged.known[:, k]
        scores, positive = judged.probabilities[mask, k], judged.right[mask, k]
        if not positive.any() or positive.all():
            continue
        mine = [group for group, flag in zip(groups, mask, strict=True) if flag]
        counted = np.cumsum(_by_score(scores, positive, np.ones((1, len(scores)))), axis=2)[:, 0]  # (2, thresholds)
        bands = _bands(scores, positive, mine, rounds=min(rounds, ROUNDS), seed=seed)
        hits, others = counted
        roc = Curve(x=np.r_[0.0, others / others[-1]], y=np.r_[0.0, hits / hits[-1]], low=bands[0][0], high=bands[0][1])
        curve = Curve(x=hits / hits[-1], y=hits / (hits + others), low=bands[1][0], high=bands[1][1])
        found.append(Curves(name=judged.names[k], roc=roc, precision_recall=curve, share=float(positive.mean())))
    return found


def _by_score(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """How many cases of the class, and others, have each score, the highest first: (2, rounds, scores)."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) < 0])
    drawn, is_positive = weights[:, order], positive[order]
    return np.stack([np.add.reduceat(drawn * side, starts, axis=1) for side in (is_positive, ~is_positive)])


Band = tuple[Floats | None, Floats | None]


def _bands(
    scores: Floats, positive: NDArray[np.bool_], groups: Sequence[Hashable], *, rounds: int, seed: int
) -> tuple[Band, Band]:
    """Of the true positive rate by the false positive rate, and of the precision by the recall."""
    if len(set(groups)) < 2:
        return (None, None), (None, None)
    roc, precision = [], []
    for weights in draws_of(groups, rounds=rounds, seed=seed):
        counted = np.cumsum(_by_score(scores, positive, weights), axis=2)
        for hits, others in zip(*counted, strict=True):
            if not hits[-1] or not others[-1]:
                continue
            roc.append(np.interp(GRID, np.r_[0.0, others / others[-1]], np.r_[0.0, hits / hits[-1]]))
            reached = np.minimum(np.searchsorted(hits / hits[-1], np.maximum(GRID, TINY)), len(hits) - 1)
            precision.append((hits / np.maximum(hits + others, 1))[reached])
    if not roc:
        return (None, None), (None, None)
    (a, b), (c, d) = (np.percentile(np.array(part), PERCENTILES, axis=0) for part in (roc, precision))
    return (a, b), (c, d)
