"""How well two series of numbers agree, for many resamplings at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omlab_evaluators.bootstrap import ratio
from omlab_evaluators.measures import Measure

Floats = NDArray[np.float64]

MEASURES = (
    Measure("mae", "MAE", higher_is_better=False, help="mean absolute difference"),
    Measure("rmse", "RMSE", higher_is_better=False, help="root of the mean squared difference"),
    Measure("bias", "Bias", higher_is_better=False, help="mean of result minus reference"),
    Measure("limit_low", "Lower limit", help="of agreement: bias - 1.96 standard deviations"),
    Measure("limit_high", "Upper limit", higher_is_better=False, help="of agreement: bias + 1.96 standard deviations"),
    Measure("pearson", "Pearson", help="correlation of the numbers"),
    Measure("spearman", "Spearman", help="correlation of their ranks"),
    Measure("r2", "R2", help="coefficient of determination of the reference by the result"),
)

Z95 = 1.96

_ALIKE = 1e-12
"""Of a sum of squares what is left by rounding where all numbers are the same."""


def agreement(reference: Floats, result: Floats, weights: Floats) -> Floats:
    """The figures of `MEASURES` in each round, (rounds, 8); NaN where one is not defined.

    Args:
        reference: Of the cases, (cases,).
        result: Of the same cases.
        weights: How often each case counts in each round, (rounds, cases).
    """
    difference = result - reference
    total = weights.sum(axis=1)
    squares = weights @ difference**2
    bias = ratio(weights @ difference, total)
    spread = Z95 * np.sqrt(ratio(_squares(difference, weights), total - 1))
    figures = [
        ratio(weights @ np.abs(difference), total), np.sqrt(ratio(squares, total)),
        bias, bias - spread, bias + spread,
        _correlation(reference - _mean(reference), result - _mean(result), weights),
        _correlation(_ranks(reference, weights), _ranks(result, weights), weights),
        1 - ratio(squares, _squares(reference, weights)),
    ]  # fmt: skip
    return np.stack(figures, axis=1)


def _ranks(values: Floats, weights: Floats) -> Floats:
    """The rank of each case among those drawn, equal ones sharing theirs, less the mean rank; (rounds, cases)."""
    _, place = np.unique(values, return_inverse=True)
    counts = np.zeros((len(weights), int(place.max(initial=-1)) + 1))
    np.add.at(counts.T, place, weights.T)
    ranks = np.cumsum(counts, axis=1) - counts / 2 + 0.5
    centred: Floats = ranks[:, place] - (weights.sum(axis=1)[:, None] + 1) / 2
    return centred


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Of the weighted cases of each round; `x` and `y` are (cases,) or (rounds, cases)."""
    total = weights.sum(axis=1)
    sum_x, sum_y = (weights * x).sum(axis=1), (weights * y).sum(axis=1)
    together = (weights * x * y).sum(axis=1) - ratio(sum_x * sum_y, total)
    found = ratio(together, np.sqrt(_squares(x, weights) * _squares(y, weights)))
    return np.clip(found, -1, 1)


def _squares(values: Floats, weights: Floats) -> Floats:
    """The sum of squared distances from the mean, in each round; exactly 0 where all values are alike."""
    values = values - _mean(values) if values.ndim == 1 else values
    total, squares = weights.sum(axis=1), (weights * values**2).sum(axis=1)
    found = squares - ratio((weights * values).sum(axis=1) ** 2, total)
    return np.where(found > _ALIKE * squares, found, 0.0)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else 0.0
