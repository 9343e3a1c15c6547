"""Figures on random and degenerate inputs, beside scikit-learn where both mean the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from omlab.errors import UsageError
from omlab_medfmc.metrics import (
    accuracy,
    aggregate,
    area_of_classes,
    areas,
    average_precisions,
    mean_average_precision,
    precision_recall_f1,
)


def drawn(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores without ties, and labels of which each class has both."""
    rng = np.random.default_rng(seed)
    scores = rng.permutation(count * classes).reshape(count, classes) / (count * classes)
    labels = rng.integers(0, 2, (count, classes))
    labels[0], labels[1] = 0, 1
    return scores, labels


@given(st.integers(0, 999), st.integers(4, 30), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_several_labels(seed: int, count: int, classes: int) -> None:
    scores, labels = drawn(seed, count, classes)
    each = [average_precision_score(labels[:, n], scores[:, n]) for n in range(classes)]
    assert average_precisions(scores, labels) == pytest.approx([100 * value for value in each])
    found = areas(scores, labels)
    assert found.mean == pytest.approx(100 * roc_auc_score(labels, scores, average="macro"))
    assert found.published == pytest.approx(found.by_class)
    together = precision_recall_f1(scores, labels)
    assert together["OF1"] == pytest.approx(100 * f1_score(labels.ravel(), scores.ravel() >= 0.5))


def test_a_class_without_cases() -> None:
    scores, labels = drawn(1, 12, 3)
    labels[:, 1] = 0
    found = areas(scores, labels)
    assert found.by_class[1] is None
    assert found.mean == pytest.approx((found.by_class[0] + found.by_class[2]) / 2)  # type: ignore[operator]
    assert found.published[1] == found.by_class[0]
    assert average_precisions(scores, labels)[1] == 0
    assert mean_average_precision(scores, labels) == pytest.approx(sum(average_precisions(scores, labels)) / 3)
    labels[:, 0] = 1
    first = areas(scores, labels)
    assert first.published == (first.by_class[2],)  # upstream has no value before the first to count again
    nothing = areas(scores, np.zeros_like(labels))
    assert (nothing.mean, nothing.published_mean) == (None, None)


def test_difficult_labels_do_not_count() -> None:
    scores, labels = drawn(2, 20, 2)
    labels[5, 0] = -1
    without = [row for row in range(20) if row != 5]
    assert average_precisions(scores, labels)[0] == average_precisions(scores[without], labels[without])[0]
    assert areas(scores, labels).by_class[0] == areas(scores[without], labels[without]).by_class[0]


def test_one_class_a_case() -> None:
    scores = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.4, 0.1], [0.0, 0.0, 0.0]])
    labels = np.array([0, 1, 2, 0])
    assert accuracy(scores, labels) == pytest.approx(50)  # a score of 0 is no answer
    assert accuracy(scores, labels, top=3) == pytest.approx(75)
    assert area_of_classes(scores[:, :2], np.array([0, 1, 0, 0])) == pytest.approx(100 * 2.5 / 3)
    assert area_of_classes(scores, np.array([0, 0, 0, 0])) is None


@given(st.integers(0, 999))
@settings(max_examples=10, deadline=None)
def test_the_second_softmax_changes_nothing_of_two_classes(seed: int) -> None:
    scores, labels = drawn(seed, 15, 1)
    both = np.concatenate([scores, 1 - scores], axis=1)
    plain = area_of_classes(both, labels[:, 0])
    assert area_of_classes(both, labels[:, 0], twice=True) == pytest.approx(plain)


def test_what_does_not_belong_together() -> None:
    with pytest.raises(UsageError, match=r"Scores \(2, 2\) and labels \(3,\)"):
        accuracy(np.ones((2, 2)), np.zeros(3, dtype=int))
    with pytest.raises(UsageError, match="1 scores are no finite numbers"):
        areas(np.array([[np.nan], [1.0]]), np.array([[0], [1]]))
    assert aggregate([{"mAP": 10.0, "AUC": 50.0}, {"accuracy": 80.0, "AUC": 60.0}]) == pytest.approx(50)
    with pytest.raises(UsageError, match="not defined"):
        aggregate([{"mAP": 10.0, "AUC": None}])
