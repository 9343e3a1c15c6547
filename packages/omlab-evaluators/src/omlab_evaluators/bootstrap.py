"""Percentile bootstrap intervals of means over cases (Efron and Tibshirani 1993, chapter 13).

What is drawn again and again, with replacement, are groups (patients): cases of one patient are not
independent, so they come and go together. One draw serves all labels, so that the interval of their
mean sees how they vary together.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A figure over `n` cases with its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def bootstrap_means(
    values: Floats, *, groups: Sequence[Hashable], rounds: int, seed: int
) -> tuple[list[Estimate], Estimate]:
    """The mean of each column of `values` (cases, labels), and the mean of these means.

    NaN is left out. `groups` says for each case whose it is. An interval needs two groups with a value.
    `n` of the last figure is the number of cases with any value.
    """
    if len(groups) != len(values):
        raise ValueError(f"There are {len(values)} cases, but {len(groups)} groups.")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    member = np.zeros((len(numbers), len(values)))
    member[[numbers[group] for group in groups], range(len(values))] = 1.0
    defined = np.isfinite(values)
    sums, counts = member @ np.where(defined, values, 0.0), member @ defined.astype(np.float64)
    draws = _draws(len(numbers), rounds=rounds, seed=seed)
    drawn = _ratio(draws @ sums, draws @ counts)
    whole = _ratio(sums.sum(axis=0), counts.sum(axis=0))
    columns = [
        _mean(whole[c], drawn[:, c], groups=int((counts[:, c] > 0).sum()), n=int(defined[:, c].sum()))
        for c in range(values.shape[1])
    ]
    some = counts.any(axis=1)
    over_all = _mean(
        float(_nan_mean(whole)), _nan_mean(drawn), groups=int(some.sum()), n=int(defined.any(axis=1).sum())
    )
    return columns, over_all


def _draws(groups: int, *, rounds: int, seed: int) -> Floats:
    """How often each group is drawn in each round, (rounds, groups)."""
    if groups == 0:
        return np.zeros((rounds, 0))
    generator = np.random.default_rng(seed)
    return generator.multinomial(groups, np.full(groups, 1 / groups), size=rounds).astype(np.float64)


def _mean(value: float, drawn: Floats, *, groups: int, n: int) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None, None, None, n)
    # A round that drew no case with a value says nothing.
    drawn = drawn[np.isfinite(drawn)]
    if groups < 2 or drawn.size == 0:
        return Estimate(float(value), None, None, n)
    low, high = np.percentile(drawn, PERCENTILES)
    return Estimate(float(value), float(low), float(high), n)


def _ratio(sums: Floats, counts: Floats) -> Floats:
    result: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return result


def _nan_mean(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = np.isfinite(values)
    result: Floats = _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
    return result
