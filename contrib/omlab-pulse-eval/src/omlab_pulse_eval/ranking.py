"""Ranks of scores, and average ranks over several columns, by three rules.

shared          equal scores share the mean of their ranks, scores unrounded (the default)
shared-rounded  the same, after rounding as in print: ratings to whole points, fractions to two decimals
position        ranks by position in a stable ascending sort: of equals the earlier row gets the worse rank;
                ratings rounded to whole points, fractions unrounded (the rule of the published Table 2)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Rule = Literal["shared", "shared-rounded", "position"]
RULES: tuple[Rule, ...] = get_args(Rule)

Floats = NDArray[np.float64]


def shared_ranks(scores: Floats) -> Floats:
    """Rank 1 for the highest; equal scores share the mean of their ranks. NaN ranks last, shared."""
    scores = np.nan_to_num(scores, nan=-math.inf)
    higher = (scores[None, :] > scores[:, None]).sum(axis=1)
    equal = (scores[None, :] == scores[:, None]).sum(axis=1)
    return np.asarray(higher + (equal + 1) / 2, dtype=np.float64)


def position_ranks(scores: Floats) -> Floats:
    """Rank n minus position in a stable ascending sort: of equal scores the earlier row gets the worse rank."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(np.nan_to_num(scores, nan=-math.inf), kind="stable")] = np.arange(len(scores), 0, -1)
    return ranks


def as_printed(rating: Floats) -> Floats:
    """Whole points as the published table has them: int(x + 0.5)."""
    return np.trunc(rating + 0.5)


def average_ranks(
    columns: Mapping[str, Mapping[str, float]],
    *,
    rule: Rule = "shared",
    fractions: Sequence[str] = (),
    order: Sequence[str] = (),
) -> dict[str, float]:
    """The mean rank of each model over the columns that all share.

    Args:
        columns: Scores by column and model; higher is better. Every column has every model.
        rule: One of `RULES`.
        fractions: The columns that are fractions (F1), not ratings.
        order: The order of rows, which counts for `position`; models left out follow in their own order.
    """
    models = list(dict.fromkeys([*order, *(name for scores in columns.values() for name in scores)]))
    total = np.zeros(len(models))
    for name, column in columns.items():
        scores = np.array([column[model] for model in models], dtype=np.float64)
        if name in fractions:
            scores = np.round(scores, 2) if rule == "shared-rounded" else scores
        elif rule != "shared":
            scores = as_printed(scores)
        total += position_ranks(scores) if rule == "position" else shared_ranks(scores)
    return {model: float(value) for model, value in zip(models, total / len(columns), strict=True)}
