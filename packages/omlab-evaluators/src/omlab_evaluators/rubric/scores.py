"""The points that an answer earns, and how far a judge's verdicts are those of experts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from omlab_evaluators.bootstrap import Floats, ratio

Criterion = Mapping[str, Any]
"""A criterion of a row: `points`, `tags`, `met` (None: no reply could be read), `experts`."""


def score(criteria: Iterable[Criterion]) -> float:
    """Points earned over points that can be earned, of the criteria with a verdict; NaN where nothing can be earned.

    Source: HealthBench (Arora et al. 2025, arXiv:2505.08775). It is below 0 where faults weigh more than merits.
    """
    read = [row for row in criteria if row["met"] is not None]
    possible = sum(row["points"] for row in read if row["points"] > 0)
    earned = sum(row["points"] for row in read if row["met"])
    return earned / possible if possible else math.nan


def table(criteria: Iterable[Criterion]) -> list[int]:
    """Pairs of verdict and expert's mark: both met, the verdict alone, the mark alone, neither."""
    counts = [0, 0, 0, 0]
    for row in criteria:
        for mark in row["experts"].values() if row["met"] is not None else ():
            counts[2 * (not row["met"]) + (not mark)] += 1
    return counts


def expert_pairs(criteria: Sequence[Criterion]) -> list[int]:
    """Pairs of experts' marks on one criterion: how many agree, and how many there are."""
    pairs = [one == two for row in criteria for one, two in combinations(row["experts"].values(), 2)]
    return [sum(pairs), len(pairs)]


def agreement(tables: Floats) -> Floats:
    """Share of pairs that agree, macro F1 and Cohen's kappa of tables (..., 4) as `table` gives, (..., 3).

    Macro F1 is the mean of the F1 of `met` and of `not met`, as in HealthBench's meta-evaluation; kappa is that of
    Cohen (1960). NaN where a figure is not defined.
    """
    both, ours, theirs, neither = np.moveaxis(tables, -1, 0)
    total = both + ours + theirs + neither
    share = ratio(both + neither, total)
    f1 = (ratio(2 * both, 2 * both + ours + theirs) + ratio(2 * neither, 2 * neither + ours + theirs)) / 2
    chance = ratio((both + ours) * (both + theirs) + (neither + theirs) * (neither + ours), total**2)
    return np.stack([share, f1, ratio(share - chance, 1 - chance)], axis=-1)
