"""Figures of ranking beside their definitions, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_protein.ranks import auc, mcc, ndcg, spearman, top_recall

NUMBERS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40)


def test_spearman_with_ties() -> None:
    assert spearman([3, 1, 2, 2, 5], [0.3, 0.1, 0.4, 0.2, 0.9]) == pytest.approx(0.8207826816681234)
    assert math.isnan(spearman([1, 1], [1, 2]))


@given(pairs=NUMBERS)
@settings(max_examples=30, deadline=None)
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, int]]) -> None:
    good, scores = [a > 3 for a, _ in pairs], [b for _, b in pairs]
    ours, theirs = ([b for b, x in zip(scores, good, strict=True) if x == side] for side in (True, False))
    wins = [(a > b) + (a == b) / 2 for a in ours for b in theirs]
    assert auc(good, scores) == pytest.approx(np.mean(wins)) if wins else math.isnan(auc(good, scores))


def test_the_best_are_found_or_not() -> None:
    truth = np.arange(100.0)
    assert top_recall(truth, truth) == 1
    assert ndcg(truth, truth) == pytest.approx(1)
    assert top_recall(truth, -truth) == 0
    half = np.where(truth >= 95, truth + 1000, np.where(truth < 5, truth + 500, truth))
    assert top_recall(truth, half) == 0.5
    gains, discounts = truth / 99, 1 / np.log2(np.arange(2, 12))
    picked = np.concatenate([gains[:94:-1], gains[4::-1]])
    assert ndcg(truth, half) == pytest.approx((picked * discounts).sum() / (gains[:89:-1] * discounts).sum())


def test_mcc_splits_at_the_median() -> None:
    good = [1, 1, 1, 0, 0, 0]
    assert mcc(good, [6, 5, 4, 3, 2, 1]) == pytest.approx(1)
    assert mcc(good, [1, 2, 3, 4, 5, 6]) == pytest.approx(-1)
    assert mcc(good, [6, 5, 1, 4, 2, 3]) == pytest.approx(1 / 3)
    assert mcc([1, 1], [1, 2]) == 0
