"""How well scores rank variants, as ProteinGym measures it: Spearman, NDCG, recall of the best, AUC, MCC.

`measured` are numbers of which larger is better, `scores` the model's. A figure that cannot be had (one value alone,
one class alone) is NaN. ProteinGym: NeurIPS 2023.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOP = 10
"""The share in percent that counts as the best."""


def spearman(measured: ArrayLike, scores: ArrayLike) -> float:
    """The correlation of ranks; ties get their mean rank."""
    one, other = (mean_ranks(np.asarray(values, np.float64)) for values in (measured, scores))
    one, other = one - one.mean(), other - other.mean()
    spread = math.sqrt(float((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / spread if spread else math.nan


def ndcg(measured: ArrayLike, scores: ArrayLike, *, top: float = TOP) -> float:
    """Discounted gain among the best `top` percent by score, as a share of the most that could be.

    Gains are the measured values, scaled to 0 to 1. Of tied scores the first come first.
    """
    truth, found = np.asarray(measured, np.float64), np.asarray(scores, np.float64)
    count = math.floor(len(truth) * top / 100)
    low, high = truth.min(), truth.max()
    if high == low or not count:
        return math.nan
    gains = (truth - low) / (high - low)
    discounts = 1 / np.log2(np.arange(2, count + 2))
    most = float((np.sort(gains)[::-1][:count] * discounts).sum())
    return float((gains[np.argsort(-found, kind="stable")][:count] * discounts).sum()) / most


def top_recall(measured: ArrayLike, scores: ArrayLike, *, top: float = TOP) -> float:
    """How many of the best `top` percent are among the best `top` percent by score."""
    truth, found = np.asarray(measured, np.float64), np.asarray(scores, np.float64)
    best = truth > np.percentile(truth, 100 - top)
    picked = found > np.percentile(found, 100 - top)
    return float((best & picked).sum() / best.sum()) if best.any() else math.nan


def auc(good: ArrayLike, scores: ArrayLike) -> float:
    """The probability that a good variant (1, not 0) scores above one that is not; ties count half."""
    label, rank = np.asarray(good, bool), mean_ranks(np.asarray(scores, np.float64))
    positives, negatives = int(label.sum()), int((~label).sum())
    if not positives or not negatives:
        return math.nan
    return (float(rank[label].sum()) - positives * (positives + 1) / 2) / (positives * negatives)


def mcc(good: ArrayLike, scores: ArrayLike) -> float:
    """Matthews' correlation of good variants with those that score at least the median; 0 where one side is empty."""
    label, found = np.asarray(good, bool), np.asarray(scores, np.float64)
    called = found >= np.median(found)
    both, neither = float((label & called).sum()), float((~label & ~called).sum())
    missed, wrong = float((label & ~called).sum()), float((~label & called).sum())
    spread = math.sqrt((both + missed) * (both + wrong) * (neither + missed) * (neither + wrong))
    return (both * neither - missed * wrong) / spread if spread else 0.0


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values get the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group], np.float64)
