"""What is believed of mutants before and after measurements: an ensemble of ridge heads.

A head says a mutant's value as a sum of weights: of each site that changed, of the class of residues that it changed
to, of the very residue, of each pair of substitutions (epistasis), of a model's score, and a constant. Each head is
fitted from weights of its own, drawn at random, to measurements with noise of its own (Osband, Aslanides and Cassirer,
Randomized Prior Functions for Deep Reinforcement Learning, NeurIPS 2018): for ridge regression that makes it a draw
from the posterior, so that heads agree where something like a mutant was measured and differ where nothing was. Heads
come in pairs of opposite draws, so that their mean is ridge regression itself.

Ridge on substitutions and a model's score: Hsu et al., Learning protein fitness models from evolutionary and
assay-labeled data, Nature Biotechnology 40 (2022). How strong weights are is chosen by evidence: Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from omlab_protein.substitutions import Substitution

Floats = NDArray[np.float64]
Mutant = tuple[Substitution, ...]

CLASSES = {letter: group for group in ("AVILMC", "FWY", "STNQ", "KRH", "DE", "G", "P") for letter in group}
"""Residues that are alike: aliphatic, aromatic, polar, positive, negative, glycine, proline."""
DRAWS = 64
"""Of weights; each makes two heads."""


class Strengths(NamedTuple):
    """Variances, in those of the measured values: of a substitution's weights, of a pair's weight, and of noise."""

    single: float
    pair: float
    noise: float


PRIOR = Strengths(single=0.5, pair=0.1, noise=0.1)
"""Before there are measurements, in variances of the model's scores."""
_GRID = [Strengths(*each) for each in product((0.1, 0.3, 1.0), (0.0, 0.1, 0.5), (0.03, 0.1, 0.3, 1.0))]


@dataclass(frozen=True)
class Points:
    """Mutants (N), and a model's scores of them (N,): from the wild type's, in its deviations over single mutants."""

    mutants: Sequence[Mutant]
    scores: Floats


class Heads:
    """The ensemble; without measurements it is spread about the model's scores.

    Args:
        measured: The mutants that were measured.
        values: What was measured (N,): larger is better.
        seed: Of the draws.
    """

    def __init__(self, measured: Points, values: Floats, *, seed: int) -> None:
        self._measured, self._generator = measured, np.random.default_rng(seed)
        self._rows: dict[Hashable, int] = {}
        self._drawn = np.zeros((0, DRAWS))
        self.center, self.scale, self.strengths = 0.0, 1.0, PRIOR
        self._is_prior = not len(values)
        if self._is_prior:
            return
        self.center, self.scale = float(values.mean()), float(values.std()) or 1.0
        wanted = (values - self.center) / self.scale
        self.strengths, solve = _fitted(measured, wanted)
        self._mean = solve @ wanted
        noise = self._generator.normal(size=(len(wanted), DRAWS)) * np.sqrt(self.strengths.noise)
        self._known = self._generator.normal(size=(2, DRAWS))  # weights of the constant and of the model's score
        self._off = solve @ (self._prior(measured) + noise)

    def values(self, points: Points) -> Floats:
        """What each head says of each mutant (N, 2 `DRAWS`), in the unit of what was measured, else of the scores."""
        if self._is_prior:
            mean, off = points.scores, self._prior(points)
        else:
            kernel = _Alike(points, self._measured).kernel(self.strengths)
            mean, off = kernel @ self._mean, self._prior(points) - kernel @ self._off
        return self.center + self.scale * np.concatenate([mean[:, None] + off, mean[:, None] - off], axis=1)

    def _prior(self, points: Points) -> Floats:
        """What heads say by their drawn weights alone: (N, `DRAWS`)."""
        single, pair, _ = self.strengths
        singles = self._sums([_features(mutant) for mutant in points.mutants]) * math.sqrt(single / 3)
        pairs = self._sums([list(combinations(mutant, 2)) for mutant in points.mutants]) * math.sqrt(pair)
        if self._is_prior:
            return np.asarray(singles + pairs)
        return np.asarray(singles + pairs + self._known[0] + points.scores[:, None] * self._known[1])

    def _sums(self, features: Sequence[Sequence[Hashable]]) -> Floats:
        """The sums of the drawn weights of features, which are drawn when they are first met."""
        new = [one for one in dict.fromkeys(one for each in features for one in each) if one not in self._rows]
        self._rows |= {one: len(self._rows) + number for number, one in enumerate(new)}
        self._drawn = np.concatenate([self._drawn, self._generator.normal(size=(len(new), DRAWS))])
        lengths = np.array([len(each) for each in features])
        rows = [self._rows[one] for each in features for one in each]
        found = np.zeros((len(features), DRAWS))
        if rows:
            begins = (np.cumsum(lengths) - lengths)[lengths > 0]
            found[lengths > 0] = np.add.reduceat(self._drawn[rows], begins, axis=0)
        return found


class _Alike:
    """How alike mutants (N) are to others (M): what covariances of any strengths are sums of."""

    def __init__(self, some: Points, others: Points) -> None:
        self._same = _common([list(mutant) for mutant in some.mutants], [list(mutant) for mutant in others.mutants])
        self._features = _common([_features(mutant) for mutant in some.mutants], [_features(m) for m in others.mutants])
        self._known = 1 + np.outer(some.scores, others.scores)

    def kernel(self, strengths: Strengths) -> Floats:
        """The covariance (N, M) of what heads say by their drawn weights."""
        pairs = self._same * (self._same - 1) / 2
        return np.asarray(self._known + strengths.single * self._features / 3 + strengths.pair * pairs)


def _fitted(points: Points, wanted: Floats) -> tuple[Strengths, Floats]:
    """The strengths under which the measured values are most probable, and (kernel + noise)^-1 with them."""
    alike, best = _Alike(points, points), -np.inf
    for strengths in _GRID:
        lower = np.linalg.cholesky(alike.kernel(strengths) + strengths.noise * np.eye(len(wanted)))
        half = np.linalg.solve(lower, wanted)
        evidence = -0.5 * float(half @ half) - float(np.log(np.diag(lower)).sum())
        if evidence > best:
            best, chosen, factor = evidence, strengths, lower
    inverse = np.linalg.inv(factor)
    return chosen, np.asarray(inverse.T @ inverse)


def _common(some: Sequence[Sequence[Hashable]], others: Sequence[Sequence[Hashable]]) -> Floats:
    """How many features each (N) has in common with each other (M)."""
    place = {one: number for number, one in enumerate(dict.fromkeys(one for each in others for one in each))}
    tables = []
    for rows in (some, others):
        table = np.zeros((len(rows), len(place)))
        for number, row in enumerate(rows):
            table[number, [place[one] for one in row if one in place]] = 1
        tables.append(table)
    return np.asarray(tables[0] @ tables[1].T)


def _features(mutant: Mutant) -> list[Hashable]:
    """Of each substitution: its site, the class of residues that is put there, itself."""
    return [part for one in mutant for part in (one.position, (one.position, CLASSES.get(one.new)), one)]
