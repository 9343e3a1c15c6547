"""What the scores of single mutants say of each position."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab_protein.substitutions import Substitution, parse


@dataclass(frozen=True, kw_only=True)
class Position:
    """A position, from 1: the residue there, the mean score of its mutants, and the best one with its score."""

    number: int
    residue: str
    count: int
    mean: float
    best: str
    highest: float


def by_position(mutants: Sequence[str], scores: NDArray[np.float64]) -> list[Position]:
    """The positions that have single mutants, in their order; none where there is no single mutant."""
    found: defaultdict[tuple[int, str], list[tuple[float, Substitution]]] = defaultdict(list)
    for mutant, score in zip(mutants, scores.tolist(), strict=True):
        parsed = parse(mutant)
        if len(parsed) == 1:
            found[parsed[0].position, parsed[0].old].append((score, parsed[0]))
    rows = []
    for (number, residue), each in sorted(found.items()):
        highest, best = max(each)
        mean = float(np.mean([score for score, _ in each]))
        rows.append(
            Position(number=number, residue=residue, count=len(each), mean=mean, best=best.new, highest=highest)
        )
    return rows
