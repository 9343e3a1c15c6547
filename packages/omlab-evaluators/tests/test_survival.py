"""The evaluator `survival`: its figures against scikit-survival, what is not defined, and its page."""

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sksurv.metrics import brier_score, concordance_index_censored, integrated_brier_score
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from omlab.errors import InputError
from omlab.roles import Evaluator, Sample
from omlab_evaluators.survival.brier import kaplan_meier, log_rank, squared_errors, still_followed
from omlab_evaluators.survival.concordance import concordance
from omlab_evaluators.survival.evaluator import load
from omlab_evaluators.survival.page import risk_groups
from omlab_evaluators.survival.summary import summarise
from omlab_payloads.scores import Scores


@pytest.fixture
def evaluator():
    return load(None, settings={"bootstrap": 40, "seed": 0})


def follow_up(seed, cases, *, tied=False):
    """Times, whether the event was seen, risks and survival probabilities at three horizons."""
    generator = np.random.default_rng(seed)
    hazards = np.exp(generator.normal(size=cases))
    to_event, to_end = generator.exponential(1 / hazards), generator.exponential(1.5, cases)
    times, events = np.minimum(to_event, to_end), to_event <= to_end
    if tied:
        times = np.ceil(3 * times) / 3
    risks = np.round(hazards + generator.normal(0, 0.5, cases), 1 if tied else 6)
    horizons = np.quantile(times, [0.2, 0.45, 0.7])
    return times, events, risks, horizons, np.exp(-hazards[:, None] * horizons * generator.uniform(0.5, 2))


@given(seed=st.integers(0, 10**6), cases=st.integers(2, 60), tied=st.booleans())
@settings(max_examples=30, deadline=None)
def test_concordance_is_that_of_scikit_survival(seed, cases, tied):
    times, events, risks, _, _ = follow_up(seed, cases, tied=tied)
    weights = np.ones((2, cases))
    weights[1, : cases // 3] = 0
    found = concordance(times, events, risks, weights)
    for n, flags in enumerate(weights > 0):
        try:
            wanted = concordance_index_censored(events[flags], times[flags], risks[flags])[0]
        except Exception:  # it has no comparable pair, or one case
            wanted = math.nan
        if math.isnan(wanted):
            assert math.isnan(found[n])
        else:
            assert found[n] == pytest.approx(wanted, abs=1e-12)


def test_counting_a_case_twice_is_having_it_twice():
    times, events, risks, _, _ = follow_up(1, 20)
    weights = np.ones((1, 20))
    weights[0, 4] = 2
    order = [*range(20), 4]
    assert concordance(times, events, risks, weights) == pytest.approx(
        concordance(times[order], events[order], risks[order], np.ones((1, 21)))
    )


@given(seed=st.integers(0, 10**6), cases=st.integers(30, 80))
@settings(max_examples=15, deadline=None)
def test_brier_scores_are_those_of_scikit_survival(seed, cases):
    times, events, risks, horizons, survival = follow_up(seed, cases)
    known = Surv.from_arrays(events, times)
    _, wanted = brier_score(known, known, survival, horizons)
    errors = squared_errors(times, events, survival, horizons)
    assert errors.mean(axis=0) == pytest.approx(wanted, abs=1e-9)
    rows = rows_of(load(None, settings={"bootstrap": 2, "seed": 0}), times, events, risks, horizons, survival)
    found = summarise(rows, rounds=2, seed=0)
    assert found.integrated.value == pytest.approx(integrated_brier_score(known, known, survival, horizons), abs=1e-9)
    assert [estimate.value for estimate in found.by_horizon] == pytest.approx(wanted)


def test_without_an_early_end_the_brier_score_is_a_mean_of_squares():
    times, _, _, horizons, survival = follow_up(2, 40)
    errors = squared_errors(times, np.ones(40, dtype=bool), survival, horizons)
    assert errors == pytest.approx(((times[:, None] > horizons) - survival) ** 2)


@given(seed=st.integers(0, 10**6), cases=st.integers(2, 50), tied=st.booleans())
@settings(max_examples=15, deadline=None)
def test_curves_are_those_of_scikit_survival(seed, cases, tied):
    times, events, _, _, _ = follow_up(seed, cases, tied=tied)
    x, y, low, high = kaplan_meier(times, events)
    wanted_x, wanted_y = kaplan_meier_estimator(events, times)
    assert x == pytest.approx(wanted_x)
    assert y == pytest.approx(wanted_y)
    assert (low <= y + 1e-12).all()
    assert (high >= y - 1e-12).all()


def test_an_event_comes_before_an_end_of_follow_up_at_the_same_time():
    times, events = np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, False])
    before, after = still_followed(times, events, np.array([1.0, 2.0, 3.0]))
    assert before == pytest.approx([1, 1, 0.5])
    assert after == pytest.approx([1, 0.5, 0])  # at 2 one of the two that are left ends


def test_groups_that_are_alike_and_not():
    times, events, _, _, _ = follow_up(3, 60)
    assert log_rank([(times[:30], events[:30]), (times[30:], events[30:])]) > 0.001
    assert log_rank([(times, events), (times + 50, events)]) < 1e-6
    assert log_rank([(times, events), (times[:0], events[:0])]) is None
    assert log_rank([(times, events & False), (times, events & False)]) is None


def rows_of(evaluator, times, events, risks, horizons=(), survival=(), groups=None):
    rows = {}
    for n in range(len(times)):
        target = Scores(values={"Time": times[n], "event": float(events[n])}, units={"Time": "days"})
        said = {f"survival@{h!r}": survival[n][k] for k, h in enumerate(np.asarray(horizons).tolist())}
        result = Scores(values={"risk": risks[n], **said})
        sample = Sample(id=f"c{n}", inputs={}, target=target, group=groups[n] if groups else None)
        rows[sample.id] = evaluator.measure(sample, result, None)
    return json.loads(json.dumps(rows))


def test_the_report_has_figures_with_intervals_and_a_page(evaluator, tmp_path):
    role: Evaluator = evaluator
    times, events, risks, horizons, survival = follow_up(5, 90)
    rows = rows_of(role, times, events, risks, horizons, survival, groups=[f"p{n // 2}" for n in range(90)])
    report = evaluator.report(rows, tmp_path)
    found = {(metric.name, metric.label): metric for metric in report.metrics}
    assert found["concordance", None].value == pytest.approx(concordance_index_censored(events, times, risks)[0])
    assert found["concordance", None].low < found["concordance", None].value < found["concordance", None].high
    assert len([1 for name, _ in found if name == "brier"]) == 3
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in ("Concordance index", "Log-rank test of high against low", "Still followed", "time (days)"):
        assert words in html or words == "time (days)"
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == 90
    assert float(table[0]["risk"]) == risks[0]


def test_a_model_without_probabilities_has_no_brier_score(evaluator, tmp_path):
    times, events, risks, _, _ = follow_up(5, 20)
    report = evaluator.report(rows_of(evaluator, times, events, risks), tmp_path)
    assert [metric.name for metric in report.metrics] == ["concordance"]
    assert any("there is no Brier score" in note for note in report.notes)


def test_the_risk_may_follow_from_the_probabilities(evaluator):
    target = Scores(values={"time": 3, "event": 1})
    said = Scores(values={"survival@1": 0.9, "survival@2": 0.5})
    (row,) = evaluator.measure(Sample(id="a", inputs={}, target=target), said, None)
    assert row["risk"] == pytest.approx(0.3)


def test_horizons_beyond_all_follow_up_are_said(evaluator, tmp_path):
    times, events, risks, _, _ = follow_up(6, 30)
    horizons = np.array([times.min() * 1.5, np.median(times), times.max() + 1])
    rows = rows_of(evaluator, times, events, risks, horizons, np.full((30, 3), 0.5))
    report = evaluator.report(rows, tmp_path)
    values = [metric.value for metric in report.metrics if metric.name == "brier"]
    assert values[2] is None
    assert values[0] is not None
    assert any("Nobody was followed beyond" in note for note in report.notes)


@pytest.mark.parametrize("events", [[False] * 4, [True] + [False] * 3])
def test_where_no_pair_says_anything_concordance_is_not_defined(evaluator, tmp_path, events):
    report = evaluator.report(rows_of(evaluator, [4.0, 3.0, 2.0, 1.0], events, [1.0, 1.0, 1.0, 1.0]), tmp_path)
    assert report.metrics[0].value is None
    assert any("concordance is not defined" in note for note in report.notes)
    assert "All risks are alike" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("target", "result", "sentence"),
    [
        (None, {"risk": 1}, "must have 'time' and 'event', but has nothing"),
        ({"time": 1}, {"risk": 1}, "but has 'time'"),
        ({"time": -1, "event": 1}, {"risk": 1}, "must be 0 or more"),
        ({"time": math.nan, "event": 1}, {"risk": 1}, "must be 0 or more"),
        ({"time": 1, "event": 2}, {"risk": 1}, "must be 1"),
        ({"time": 1, "event": 1}, {"score": 1}, "has neither a number 'risk'"),
        ({"time": 1, "event": 1}, {"risk": math.inf}, "not a finite number"),
        ({"time": 1, "event": 1}, {"survival@1": 1.5}, "lies between 0 and 1"),
        ({"time": 1, "event": 1}, {"survival@1": math.nan}, "lies between 0 and 1"),
        ({"time": 1, "event": 1}, {"survival@soon": 0.5}, "names no time"),
    ],
)
def test_what_cannot_be_judged_fails_its_case(evaluator, target, result, sentence):
    sample = Sample(id="a", inputs={}, target=Scores(values=target) if target else None)
    with pytest.raises(InputError, match=sentence):
        evaluator.measure(sample, Scores(values=result), None)


def test_cases_with_other_horizons_are_refused(evaluator, tmp_path):
    target = Scores(values={"time": 3, "event": 1})
    rows = {
        name: evaluator.measure(Sample(id=name, inputs={}, target=target), Scores(values={f"survival@{t}": 0.5}), None)
        for name, t in (("a", 1), ("b", 2))
    }
    with pytest.raises(InputError, match=r"Case a has survival probabilities of the times 1\.0, case b of 2\.0"):
        evaluator.report(rows, tmp_path)


def test_thirds_of_the_cases_by_risk():
    groups = risk_groups(np.arange(9.0))
    assert [(group.name, int(group.flags.sum())) for group in groups] == [("low", 3), ("middle", 3), ("high", 3)]
    assert [group.name for group in risk_groups(np.array([0.0, 0, 0, 1]))] == ["low", "high"]
