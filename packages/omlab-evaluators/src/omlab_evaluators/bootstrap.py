"""Percentile bootstrap intervals of figures over cases (Efron and Tibshirani 1993, chapter 13).

What is drawn again and again, with replacement, are groups (patients): cases of one patient are not
independent, so they come and go together. One draw serves all figures, so that the interval of their
mean sees how they vary together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Row = Mapping[str, Any]
CaseRows = Mapping[str, Sequence[Row]]
"""What was measured, by case id."""

Statistic = Callable[[Floats], Floats]
"""How often each case counts, (rounds, cases) -> the figures of each round, (rounds, figures); NaN: not defined."""

AT_ONCE = 1_000_000
"""Numbers of a block of rounds: some 8 MB, whatever there is to be drawn from."""

PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A figure over `n` cases with its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def groups_of(rows: CaseRows) -> list[tuple[str, str]]:
    """Whose each case is. One without a group is a group of its own; the mark keeps its id from being taken for one."""
    return [
        next((("group", str(row["group"])) for row in case if row.get("group")), ("case", name))
        for name, case in rows.items()
    ]


def bootstrap_figures(
    statistic: Statistic, *, rests_on: NDArray[np.bool_], groups: Sequence[Hashable], rounds: int, seed: int
) -> list[Estimate]:
    """The figures of a statistic with their intervals.

    Args:
        statistic: Gives the figures for cases that count several times, or not at all.
        rests_on: For each figure the cases that it rests on, (figures, cases): how many they are is its `n`, and an
            interval needs two groups of them.
        groups: For each case whose it is.
        rounds: How often groups are drawn.
        seed: Of the drawing.

    A round in which a figure is not defined says nothing about it.
    """
    if len(groups) != rests_on.shape[1]:
        raise ValueError(f"There are {rests_on.shape[1]} cases, but {len(groups)} groups.")
    index, number = _numbered(groups)
    drawn = np.concatenate([statistic(weights) for weights in draws_of(groups, rounds=rounds, seed=seed)])
    (whole,) = statistic(np.ones((1, len(groups))))
    support = (_by_group(rests_on.T.astype(np.float64), index, number) > 0).sum(axis=0)
    return [
        _estimate(value, drawn[:, n], groups=int(support[n]), n=int(rests_on[n].sum())) for n, value in enumerate(whole)
    ]


def draws_of(groups: Sequence[Hashable], *, rounds: int, seed: int) -> Iterator[Floats]:
    """How often each case counts, some rounds at once, (rounds, cases): the draws that `bootstrap_figures` makes."""
    index, number = _numbered(groups)
    for draws in _draws(number, rounds=rounds, seed=seed, at_once=AT_ONCE // max(1, len(groups))):
        yield draws[:, index]


def bootstrap_means(
    values: Floats, *, groups: Sequence[Hashable], rounds: int, seed: int
) -> tuple[list[Estimate], Estimate]:
    """The mean of each column of `values` (cases, labels), and the mean of these means.

    NaN is left out. `groups` says for each case whose it is. An interval needs two groups with a value.
    `n` of the last figure is the number of cases with any value.
    """
    if len(groups) != len(values):
        raise ValueError(f"There are {len(values)} cases, but {len(groups)} groups.")
    index, number = _numbered(groups)
    defined = np.isfinite(values)
    sums = _by_group(np.where(defined, values, 0.0), index, number)
    counts = _by_group(defined.astype(np.float64), index, number)
    blocks = _draws(number, rounds=rounds, seed=seed, at_once=AT_ONCE // max(1, number))
    drawn = np.concatenate([ratio(draws @ sums, draws @ counts) for draws in blocks])
    whole = ratio(sums.sum(axis=0), counts.sum(axis=0))
    columns = [
        _estimate(whole[c], drawn[:, c], groups=int((counts[:, c] > 0).sum()), n=int(defined[:, c].sum()))
        for c in range(values.shape[1])
    ]
    some = counts.any(axis=1)
    over_all = _estimate(
        float(_nan_mean(whole)), _nan_mean(drawn), groups=int(some.sum()), n=int(defined.any(axis=1).sum())
    )
    return columns, over_all


def _numbered(groups: Sequence[Hashable]) -> tuple[NDArray[np.int64], int]:
    """The number of each case's group, and how many there are."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups], dtype=np.int64), len(numbers)


def _by_group(values: Floats, index: NDArray[np.int64], number: int) -> Floats:
    """Sums of the rows of `values` (cases, columns) over the cases of each group, (groups, columns)."""
    sums = np.zeros((number, values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def _draws(groups: int, *, rounds: int, seed: int, at_once: int) -> Iterator[Floats]:
    """How often each group is drawn in each round, (rounds, groups), some rounds at once: the same whatever that is."""
    generator = np.random.default_rng(seed)
    step = max(1, at_once)
    for begun in range(0, rounds, step):
        size = min(step, rounds - begun)
        # of no group nothing can be drawn
        drawn = generator.multinomial(groups, np.full(groups, 1 / groups), size=size) if groups else np.zeros((size, 0))
        yield drawn.astype(np.float64)


def _estimate(value: float, drawn: Floats, *, groups: int, n: int) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None, None, None, n)
    # A round that drew no case with a value says nothing.
    drawn = drawn[np.isfinite(drawn)]
    if groups < 2 or drawn.size == 0:
        return Estimate(float(value), None, None, n)
    low, high = np.percentile(drawn, PERCENTILES)
    return Estimate(float(value), float(low), float(high), n)


def ratio(above: Floats, below: Floats) -> Floats:
    """`above / below`, NaN where nothing is below: a figure that is not defined there."""
    undefined = np.full(np.broadcast_shapes(np.shape(above), np.shape(below)), np.nan)
    result: Floats = np.divide(above, below, out=undefined, where=below > 0)
    return result


def _nan_mean(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = np.isfinite(values)
    result: Floats = ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
    return result
