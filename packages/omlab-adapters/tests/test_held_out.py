"""Folds, temperature and prediction sets: what is kept from learning, and what it is kept for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import TrainingError
from omlab_adapters.probes.calibration import COLDEST, best_temperature, level_of_sets
from omlab_adapters.probes.held_out import folds_of, plan_folds, plan_validation


@given(seed=st.integers(0, 10**6), cases=st.integers(1, 60), folds=st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_a_patient_lies_in_one_fold_and_nothing_is_lost(seed: int, cases: int, folds: int) -> None:
    generator = np.random.default_rng(seed)
    targets = np.eye(4)[generator.integers(0, 4, cases)]
    groups = [f"p{n}" for n in generator.integers(0, max(1, cases // 2), cases)]
    plan = plan_folds(targets, groups, folds=folds, seed=seed, is_calibrated=False)
    for trial in plan.trials:
        assert sorted([*trial.learned, *trial.judged]) == list(range(cases))
        assert not {groups[n] for n in trial.learned} & {groups[n] for n in trial.judged}
    judged = sorted(n for trial in plan.trials for n in trial.judged)
    assert judged == (list(range(cases)) if len(set(groups)) > 1 else [])


def test_every_class_is_spread_over_the_folds() -> None:
    labels = np.array([0] * 20 + [1] * 5 + [2] * 5)
    fold = folds_of(np.eye(3)[labels], [f"p{n}" for n in range(30)], folds=5, seed=3)
    for label in range(3):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_the_first_fold_is_kept_for_sets() -> None:
    targets = np.eye(2)[np.arange(20) % 2]
    plan = plan_folds(targets, [f"p{n // 2}" for n in range(20)], folds=5, seed=0, is_calibrated=True)
    assert plan.calibration is not None
    kept = set(plan.calibration.tolist())
    assert len(kept) == 4
    used = {n for trial in plan.trials for n in (*trial.learned, *trial.judged)} | set(plan.final.tolist())
    assert not used & kept
    assert len(plan.trials) == 4


def test_sets_need_a_second_patient() -> None:
    with pytest.raises(TrainingError, match="All training cases are of one group"):
        plan_folds(np.ones((4, 1)), ["p"] * 4, folds=5, seed=0, is_calibrated=True)


def test_of_the_validation_split_patients_of_the_training_do_not_count() -> None:
    groups = ["a", "b", "a", "c", "d", "e"]  # two are trained on
    plan = plan_validation(2, groups, seed=0, is_calibrated=False)
    assert plan.final.tolist() == [0, 1]
    assert plan.trials[0].judged.tolist() == [3, 4, 5]
    both = plan_validation(2, groups, seed=0, is_calibrated=True)
    assert both.calibration is not None
    assert sorted([*both.calibration, *both.trials[0].judged]) == [3, 4, 5]
    with pytest.raises(TrainingError, match="too few to choose settings by"):
        plan_validation(2, ["a", "b", "a"], seed=0, is_calibrated=False)


def test_the_temperature_undoes_what_was_done_to_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 3, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]

    def slope(inverse: float) -> float:
        at = torch.tensor(inverse, dtype=torch.float64, requires_grad=True)
        torch.nn.functional.cross_entropy(5 * logits * at, labels).backward()
        assert at.grad is not None
        return float(at.grad)

    assert best_temperature(slope) == pytest.approx(5, rel=0.05)
    assert best_temperature(lambda inverse: -1.0) == pytest.approx(COLDEST)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_sets_hold_what_is_right_as_often_as_they_promise(coverage: float) -> None:
    """Over many draws of 19 kept cases and of new ones; the promise is of the mean."""
    generator = np.random.default_rng(0)
    held = []
    for _ in range(400):
        probabilities = generator.dirichlet(np.ones(4), 40)
        right = np.array([generator.choice(4, p=0.5 * row + 0.125) for row in probabilities])
        targets = np.eye(4)[right]
        level = level_of_sets(probabilities[:19], targets[:19], coverage=coverage)
        assert level is not None
        held.append((probabilities[19:][np.arange(21), right[19:]] >= level).mean())
    assert coverage - 0.015 < np.mean(held) < coverage + 0.05 + 0.015  # 1 / (19 + 1) is what ranks can be off


def test_sets_of_several_classes_hold_all_that_are_right() -> None:
    probabilities = np.array([[0.9, 0.2], [0.6, 0.7], [0.1, 0.4]])
    targets = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, np.nan]])
    assert (
        level_of_sets(probabilities, targets, coverage=0.5) == 0.9
    )  # the second largest of 1 (none is right), 0.9, 0.6
    assert level_of_sets(probabilities, targets, coverage=0.75) == 0.6
    assert level_of_sets(probabilities, targets, coverage=0.8) is None


def test_nine_cases_are_enough_for_nine_tenths_and_eight_are_not() -> None:
    ones = np.ones((9, 1))
    assert level_of_sets(ones * 0.7, ones, coverage=0.9) == 0.7
    assert level_of_sets(ones[:8], ones[:8], coverage=0.9) is None
