"""AUROC and average precision against scikit-learn, whatever the numbers, ties and weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from omlab_evaluators.classification.discrimination import discrimination


@given(seed=st.integers(0, 10**6), cases=st.integers(2, 60), levels=st.sampled_from([2, 5, 1000]))
@settings(max_examples=60, deadline=None)
def test_agree_with_scikit_learn_in_every_round(seed, cases, levels):
    generator = np.random.default_rng(seed)
    scores = np.round(generator.random(cases) * levels) / levels  # few levels: many ties
    positive = generator.random(cases) < 0.4
    weights = generator.integers(0, 4, (3, cases)).astype(float)
    auroc, precision = discrimination(scores, positive, weights)
    for n, row in enumerate(weights):
        if not row[positive].any() or not row[~positive].any():
            assert np.isnan([auroc[n], precision[n]]).all()
            continue
        assert auroc[n] == pytest.approx(roc_auc_score(positive, scores, sample_weight=row), abs=1e-12)
        assert precision[n] == pytest.approx(average_precision_score(positive, scores, sample_weight=row), abs=1e-12)


def test_counting_a_case_twice_is_having_it_twice():
    scores, positive = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    twice = discrimination(scores, positive, np.array([[2.0, 1, 1, 0]]))
    listed = discrimination(scores[[0, 0, 1, 2]], positive[[0, 0, 1, 2]], np.ones((1, 4)))
    assert twice == listed


def test_without_both_sides_nothing_is_said():
    none = np.ones((2, 3))
    for positive in ([True] * 3, [False] * 3):
        assert np.isnan(discrimination(np.array([0.1, 0.2, 0.3]), np.array(positive), none)).all()
    assert np.isnan(discrimination(np.empty(0), np.empty(0, dtype=bool), np.ones((2, 0)))).all()
