import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_evaluators.bootstrap import bootstrap_means

NAN = float("nan")


def test_means_leave_out_what_is_not_defined():
    values = np.array([[1.0, NAN, NAN], [0.0, 0.5, NAN], [0.5, 0.7, NAN]])
    columns, overall = bootstrap_means(values, groups=["a", "b", "c"], rounds=200, seed=0)
    assert [column.value for column in columns] == [pytest.approx(0.5), pytest.approx(0.6), None]
    assert [column.n for column in columns] == [3, 2, 0]
    assert overall.value == pytest.approx(0.55)
    assert overall.n == 3
    assert (columns[2].low, columns[2].high) == (None, None)


@given(st.integers(0, 100), st.integers(2, 12))
@settings(max_examples=20, deadline=None)
def test_intervals_hold_the_mean_and_depend_on_the_seed_alone(seed, cases):
    values = np.random.default_rng(seed).random((cases, 2))
    first = bootstrap_means(values, groups=range(cases), rounds=300, seed=seed)
    assert first == bootstrap_means(values, groups=range(cases), rounds=300, seed=seed)
    for mean in (*first[0], first[1]):
        assert mean.low <= mean.value <= mean.high


def test_agrees_with_drawing_cases_one_by_one():
    values = np.random.default_rng(1).normal(size=(15, 1))
    (found,), _ = bootstrap_means(values, groups=range(15), rounds=20000, seed=0)
    generator = np.random.default_rng(2)
    drawn = [values[generator.integers(0, 15, 15)].mean() for _ in range(20000)]
    assert [found.low, found.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.02)


def test_agrees_with_drawing_whole_groups():
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(8), [1, 2, 3, 4, 1, 2, 3, 4])
    values = (np.arange(8)[groups] + generator.normal(0, 0.1, 20))[:, None]
    (found,), _ = bootstrap_means(values, groups=groups.tolist(), rounds=20000, seed=0)
    drawn = []
    for _ in range(20000):
        members = [values[groups == g, 0] for g in generator.integers(0, 8, 8)]
        drawn.append(np.concatenate(members).mean())
    assert [found.low, found.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.08)
    (apart,), _ = bootstrap_means(values, groups=range(20), rounds=20000, seed=0)
    assert found.high - found.low > apart.high - apart.low  # a patient's cases say less than as many patients


def test_one_patient_has_no_interval():
    (found,), overall = bootstrap_means(np.array([[0.2], [0.4]]), groups=["a", "a"], rounds=100, seed=0)
    assert (found.value, found.low, found.high, found.n) == (pytest.approx(0.3), None, None, 2)
    assert overall.low is None


def test_rounds_without_a_value_are_left_out():
    values = np.full((6, 1), NAN)
    values[0], values[1] = 0.2, 0.8
    (found,), _ = bootstrap_means(values, groups=range(6), rounds=500, seed=0)
    assert 0.2 <= found.low <= found.high <= 0.8


def test_no_cases_and_no_labels():
    columns, overall = bootstrap_means(np.zeros((0, 1)), groups=[], rounds=10, seed=0)
    assert columns[0].value is None
    assert overall.value is None
    assert bootstrap_means(np.zeros((2, 0)), groups=[1, 2], rounds=10, seed=0)[1].value is None


def test_every_case_needs_a_group():
    with pytest.raises(ValueError, match="2 cases, but 1 groups"):
        bootstrap_means(np.zeros((2, 1)), groups=["a"], rounds=10, seed=0)
