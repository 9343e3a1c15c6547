"""How foreign cases are: two distances to known ones, each beside what the known ones have among themselves.

The known ones are scored by leaving each out, so that a threshold says how many cases like them would be above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omlab.errors import UsageError
from omlab_retrieval.gaussian import Gaussian
from omlab_retrieval.neighbours import Matrix, Rows, Vector, check_matrices, search

LEAST = 2
MOST = 10_000
"""Known cases that the covariance and the thresholds are made of; of more, so many are drawn (seed 0)."""
PERCENT = (95, 99)
"""Thresholds: so many of a hundred cases like the known ones are not above."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The distances of cases by one score, beside those of known ones that were left out.

    Attributes:
        values: (Q,); NaN where the score is not defined.
        known: Of the known ones, (n,), from the least on; empty where the score is not defined.
    """

    values: Vector
    known: Vector

    def threshold(self, percent: int) -> float | None:
        """The distance that a case like the known ones exceeds in at most 100 - `percent` of 100 draws.

        It is the known one of rank ceil((n + 1) percent / 100), as in split-conformal prediction; None where that
        is more than there are, so that nothing can be said.
        """
        rank = -(-(len(self.known) + 1) * percent // 100)
        return float(self.known[rank - 1]) if 1 <= rank <= len(self.known) else None

    def below(self) -> Vector:
        """For each case the share of the known ones that are less foreign, (Q,); NaN where nothing is known."""
        if not len(self.known):
            return np.full(len(self.values), np.nan)
        share = np.searchsorted(self.known, self.values, side="left") / len(self.known)
        return np.where(np.isfinite(self.values), share, np.nan)

    def above(self) -> Rows:
        """For each case the highest of `PERCENT` whose threshold it exceeds, (Q,); 0: none."""
        found = np.zeros(len(self.values), np.int64)
        for percent in PERCENT:
            threshold = self.threshold(percent)
            if threshold is not None:
                found[self.values > threshold] = percent
        return found


@dataclass(frozen=True, kw_only=True)
class Outlying:
    """Cases scored by how foreign they are.

    Attributes:
        neighbour: One less the cosine similarity of the k-th neighbour.
        mahalanobis: The distance to a Gaussian of the known ones.
        nearest: The rows of the nearest known ones, (Q, K), the nearest first.
        similarities: Their cosines, (Q, K).
        k: Which neighbour was measured.
    """

    neighbour: Scored
    mahalanobis: Scored
    nearest: Rows
    similarities: Vector
    k: int

    def order(self) -> Rows:
        """The cases, the most foreign by `neighbour` first; of two alike the first."""
        return np.argsort(-self.neighbour.values, kind="stable")


def outliers(known: Matrix, new: Matrix | None = None, *, k: int = 10, most: int = MOST) -> Outlying:
    """Score new cases by how far they are from known ones; without new ones, each known one from all others.

    Args:
        known: (N, D), two at least.
        new: (Q, D).
        k: Which neighbour's distance is taken; the last one where fewer are known.
        most: Known ones that covariance and thresholds are made of.

    Source of the first score: Sun et al., Out-of-distribution detection with deep nearest neighbors, ICML 2022
    (there as the distance of vectors of length 1, which has the same order); of the second see `Gaussian`.

    Raises:
        UsageError: Fewer than two are known, `k` is not positive, or the matrices do not fit each other.
        NotFiniteError: A vector has entries that are NaN or infinite.
    """
    check_matrices(known, known if new is None else new)
    if len(known) < LEAST:
        raise UsageError(f"What is foreign is told by at least {LEAST} known cases; there is {len(known) or 'none'}.")
    k = min(k, len(known) - 1)  # of the known ones, one less has neighbours to offer
    drawn = _drawn(len(known), most=most)
    gaussian = Gaussian(known[drawn])
    inside = gaussian.left_out(known[drawn])
    if new is None:
        every = np.arange(len(known))
        among = search(known, known, k=k, own=every)
        values = gaussian.distances(known, what="known")
        values[drawn] = inside
        return Outlying(
            neighbour=_scored(_last(among.similarities)),
            mahalanobis=_scored(values),
            nearest=among.rows,
            similarities=among.similarities,
            k=k,
        )
    left_out = search(known, known[drawn], k=k, own=drawn)
    found = search(known, new, k=k)
    return Outlying(
        neighbour=_scored(_last(found.similarities), known=_last(left_out.similarities)),
        mahalanobis=_scored(gaussian.distances(new), known=inside),
        nearest=found.rows,
        similarities=found.similarities,
        k=k,
    )


def _drawn(count: int, *, most: int) -> Rows:
    """The rows that covariance and thresholds are made of, in their order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def _last(similarities: Vector) -> Vector:
    return 1 - similarities[:, -1]


def _scored(values: Vector, *, known: Vector | None = None) -> Scored:
    known = values if known is None else known
    return Scored(values=values, known=np.sort(known[np.isfinite(known)]))
