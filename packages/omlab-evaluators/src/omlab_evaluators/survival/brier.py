"""The Brier score of survival probabilities where follow-up may end early, and Kaplan-Meier curves.

Source: Graf et al., Assessment and comparison of prognostic classification schemes for survival data, Statistics in
Medicine 18 (1999).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def still_followed(times: Floats, events: Flags, at: Floats) -> tuple[Floats, Floats]:
    """The probability that follow-up has not ended just before, and at, each of the times `at`, both (times,).

    The Kaplan-Meier estimate with the ends of follow-up as events; an event at the same time comes before them.
    """
    distinct, ends = np.unique(times[~events], return_counts=True)
    at_risk = np.array([(times > t).sum() + ((times == t) & ~events).sum() for t in distinct], dtype=np.float64)
    survival = np.cumprod(1 - ends / at_risk) if len(distinct) else np.empty(0)
    steps = np.r_[1.0, survival]
    before = steps[np.searchsorted(distinct, at, side="left")]
    after = steps[np.searchsorted(distinct, at, side="right")]
    return before, after


def squared_errors(times: Floats, events: Flags, survival: Floats, horizons: Floats) -> Floats:
    """What each case adds to the Brier score at each horizon, (cases, horizons); its mean over cases is the score.

    A case whose follow-up ended before a horizon adds nothing; the others stand for it, weighted by the inverse of the
    probability of being followed. NaN for a horizon until which nobody was followed.

    Args:
        times: Of event or end of follow-up, (cases,).
        events: Whether it was an event.
        survival: The probability of having no event until each horizon, (cases, horizons).
        horizons: Times, (horizons,).
    """
    before, _ = still_followed(times, events, times)
    _, there = still_followed(times, events, horizons)
    had = events[:, None] & (times[:, None] <= horizons)
    lives = times[:, None] > horizons
    of_event = np.divide(had, before[:, None], out=np.zeros(had.shape), where=had)
    of_life = np.divide(lives, there[None], out=np.zeros(lives.shape), where=lives & (there > 0))
    found = of_event * survival**2 + of_life * (1 - survival) ** 2
    is_known = (there > 0) & (horizons < times.max(initial=0.0))
    result: Floats = np.where(is_known, found, np.nan)
    return result


def integrated(scores: Floats, horizons: Floats) -> Floats:
    """The mean of Brier scores (..., horizons) over the time between the first and the last horizon.

    NaN where fewer than two are defined.
    """
    is_defined = np.isfinite(scores).all(axis=tuple(range(scores.ndim - 1)))
    if is_defined.sum() < 2:
        return np.full(scores.shape[:-1], np.nan)
    x = horizons[is_defined]
    result: Floats = np.trapezoid(scores[..., is_defined], x, axis=-1) / (x[-1] - x[0])
    return result


def kaplan_meier(times: Floats, events: Flags) -> tuple[Floats, Floats, Floats, Floats]:
    """Times, the share without an event from each on, and its 95 % interval (Greenwood, log-log), by SciPy."""
    found = stats.ecdf(stats.CensoredData.right_censored(times, ~events)).sf
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The confidence interval is undefined")  # where nobody is left
        interval = found.confidence_interval(method="log-log")
    low, high = (
        np.where(np.isfinite(part), part, found.probabilities)
        for part in (interval.low.probabilities, interval.high.probabilities)
    )
    return found.quantiles, found.probabilities, low, high


def log_rank(parts: Sequence[tuple[Floats, Flags]]) -> float | None:
    """The p-value of the log-rank test of two groups (times, events), by SciPy; None without cases or events."""
    if any(not len(times) for times, _ in parts) or not any(events.any() for _, events in parts):
        return None
    found = stats.logrank(*(stats.CensoredData.right_censored(times, ~events) for times, events in parts))
    return float(found.pvalue) if np.isfinite(found.pvalue) else None
