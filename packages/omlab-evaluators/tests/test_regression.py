"""The evaluator `regression`: its figures against numpy, SciPy and scikit-learn, what is not defined, and its page."""

import csv
import json
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from omlab.errors import InputError
from omlab.roles import Evaluator, Sample
from omlab_evaluators.regression.agreement import MEASURES, agreement
from omlab_evaluators.regression.evaluator import load
from omlab_evaluators.regression.page import SHOWN_CASES
from omlab_evaluators.regression.summary import summarise
from omlab_payloads.scores import Scores

KEYS = [measure.key for measure in MEASURES]


@pytest.fixture
def evaluator():
    return load(None, settings={"bootstrap": 50, "seed": 0})


def ef(value, **more):
    return Scores(values={"ejection fraction": value, **more}, units={"ejection fraction": "%"})


def measure(evaluator, pairs, tmp_path, groups=None):
    """Rows of cases `c0`, `c1`, ... of (reference, result)."""
    rows = {
        f"c{n}": evaluator.measure(
            Sample(id=f"c{n}", inputs={}, target=target, group=groups[n] if groups else None), result, tmp_path
        )
        for n, (target, result) in enumerate(pairs)
    }
    return json.loads(json.dumps(rows))


def naive(x, y):
    """The figures of results `y` for references `x`, by other people's code; NaN where one is not defined."""
    d = y - x
    spread = 1.96 * d.std(ddof=1) if d.size > 1 else math.nan
    varied = d.size > 1 and len(set(x)) > 1 and len(set(y)) > 1
    return [
        reference.mean_absolute_error(x, y),
        reference.root_mean_squared_error(x, y),
        d.mean(),
        d.mean() - spread,
        d.mean() + spread,
        scipy.stats.pearsonr(x, y).statistic if varied else math.nan,
        scipy.stats.spearmanr(x, y).statistic if varied else math.nan,
        reference.r2_score(x, y) if d.size > 1 and len(set(x)) > 1 else math.nan,
    ]


@given(
    seed=st.integers(0, 10**6),
    cases=st.integers(1, 40),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    shift=st.sampled_from([0.0, 100.0]),
    levels=st.sampled_from([1, 4, 1000]),
)
@settings(max_examples=60, deadline=None)
def test_figures_of_any_draw_are_those_of_the_cases_drawn(seed, cases, scale, shift, levels):
    generator = np.random.default_rng(seed)
    x = scale * (np.round(generator.random(cases) * levels) / levels + shift)  # few levels: ties, and all alike
    y = x + scale * np.round(generator.normal(size=cases) * levels) / levels
    weights = np.vstack([np.ones(cases), generator.integers(0, 3, (3, cases))])
    for row, found in zip(weights, agreement(x, y, weights), strict=True):
        times = row.astype(int)
        if not times.any():
            assert np.isnan(found).all()
            continue
        wanted = naive(np.repeat(x, times), np.repeat(y, times))
        for key, ours, theirs in zip(KEYS, found, wanted, strict=True):
            near = 1e-6 * scale if key in KEYS[:5] else 1e-6
            assert ours == pytest.approx(theirs, rel=1e-6, abs=near, nan_ok=True), key


def test_it_is_an_evaluator(evaluator):
    role: Evaluator = evaluator
    assert callable(role.measure)


def test_scores_are_matched_by_name_and_have_their_unit(evaluator, tmp_path):
    target = Scores(values={"ejection fraction": 55, "volume": 120}, units={"volume": "ml"})
    result = Scores(values={"Ejection-Fraction": 50, "volume": 130, "other": 3}, units={"Ejection-Fraction": "%"})
    rows = measure(evaluator, [(target, result)], tmp_path)["c0"]
    assert [(row["name"], row["unit"], row["reference"], row["result"]) for row in rows] == [
        ("ejection fraction", "%", 55, 50),
        ("volume", "ml", 120, 130),
    ]


@pytest.mark.parametrize(
    ("target", "result", "sentence"),
    [
        (None, ef(50), "Case c0 has no reference number"),
        (ef(math.nan), ef(50), "Case c0 has no reference number"),
        (ef(50), ef(math.inf), "Case c0: the result 'ejection fraction' is inf, not a finite number"),
        (ef(50), Scores(values={"age": 7}), r"no score of the reference \('ejection fraction'\).*\('age'\)"),
        (
            ef(50),
            Scores(values={"ejection fraction": 0.5}, units={"ejection fraction": "1"}),
            "is in % in the reference and in 1 in the result",
        ),
    ],
)
def test_what_cannot_be_judged_fails_its_case(evaluator, tmp_path, target, result, sentence):
    with pytest.raises(InputError, match=sentence):
        measure(evaluator, [(target, result)], tmp_path)


def test_the_report_has_every_figure_by_score(evaluator, tmp_path):
    pairs = [(ef(50 + n, age=n), ef(51 + n + (n % 3), age=2 * n)) for n in range(12)]
    report = evaluator.report(measure(evaluator, pairs, tmp_path), tmp_path)
    found = {(metric.name, metric.label): metric for metric in report.metrics}
    assert len(found) == 2 * len(KEYS)
    assert found["bias", "ejection fraction"].value == pytest.approx(2)
    assert (found["bias", "ejection fraction"].unit, found["r2", "ejection fraction"].unit) == ("%", "")
    assert found["mae", "age"].unit == ""
    for metric in report.metrics:
        assert metric.low <= metric.value + 1e-9
        assert metric.high >= metric.value - 1e-9
        assert metric.n == 12
    low, bias, high = (found[key, "age"].value for key in ("limit_low", "bias", "limit_high"))
    assert bias - low == pytest.approx(high - bias)


def test_what_is_missing_or_alike_is_said(evaluator, tmp_path):
    pairs = [
        (ef(50, age=3), ef(51, age=4)),
        (ef(50, age=math.nan), ef(52, age=5)),
        (ef(50, age=9), ef(53)),
    ]
    report = evaluator.report(measure(evaluator, pairs, tmp_path), tmp_path)
    found = {(metric.name, metric.label): metric for metric in report.metrics}
    assert found["bias", "ejection fraction"].value == 2
    assert found["r2", "ejection fraction"].value is None
    assert found["pearson", "ejection fraction"].value is None
    assert found["mae", "age"].n == 1
    assert found["limit_low", "age"].value is None
    for sentence in (
        "All references of 'ejection fraction' are alike: correlation and R2 are not defined.",
        "'age' has no reference in 1 case, which",
        "The model gives no 'age' in 1 case, which",
        "'age' is known of one case",
        "With 3 cases",
    ):
        assert any(sentence in note for note in report.notes), sentence


def test_cases_of_one_patient_are_drawn_together(evaluator, tmp_path):
    pairs = [(ef(50 + n), ef(50 + n + (0 if n < 4 else 10))) for n in range(8)]
    apart = measure(evaluator, pairs, tmp_path)
    together = measure(evaluator, pairs, tmp_path, groups=[f"p{n // 4}" for n in range(8)])
    widths = []
    for rows in (apart, together):
        estimate = summarise(rows, rounds=300, seed=0).figures[0]["bias"]
        assert estimate == summarise(rows, rounds=300, seed=0).figures[0]["bias"]
        widths.append(estimate.high - estimate.low)
    assert widths[1] > widths[0]


def test_the_page_shows_the_largest_difference_first(evaluator, tmp_path):
    (tmp_path / "history.json").write_text(json.dumps([{"epoch": n, "loss": 1 / (n + 1)} for n in range(5)]))
    request = {"model": {"name": "toy"}, "data": {"name": "cases", "split": "test"}}
    (tmp_path / "run.json").write_text(json.dumps({"run": "evaluate", "request": request}))
    (tmp_path / "cases.jsonl").write_text('{"id": "a", "status": "done", "warnings": ["It was resampled."]}\n')
    pairs = [(ef(50 + n), ef(50 + n + far)) for n, far in enumerate((1, -9, 3, 5))]
    evaluator.report(measure(evaluator, pairs, tmp_path), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    cases = html[html.index("By case</h2>") :]
    places = [cases.index(f">{case}<") for case in ("c1", "c3", "c2", "c0")]
    assert places == sorted(places)
    for words in ("toy on cases (test): 4 cases, 1 score", "Agreement", "Training", "It was resampled.", "Provenance"):
        assert words in html


def test_the_same_rows_give_the_same_files_and_no_formula(evaluator, tmp_path):
    name = "=1+1"
    rows = measure(evaluator, [(Scores(values={name: n}), Scores(values={name: n + 0.5})) for n in range(3)], tmp_path)
    evaluator.report(rows, tmp_path)
    first = [(tmp_path / name).read_bytes() for name in ("report.html", "cases.csv")]
    evaluator.report(rows, tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("report.html", "cases.csv")] == first
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as stream:
        table = list(csv.reader(stream))
    assert table[1] == ["c0", "", "'=1+1", "", "0.0", "0.5", "0.5"]


def test_very_many_cases_and_scores_stay_readable(tmp_path):
    judge = load(None, settings={"bootstrap": 20, "seed": 0})
    names = [f"score {n}" for n in range(12)]
    pairs = [
        (Scores(values={name: n + m for m, name in enumerate(names)}), Scores(values=dict.fromkeys(names, float(n))))
        for n in range(40)
    ]
    judge.report(measure(judge, pairs, tmp_path), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"The first {SHOWN_CASES} of 480 numbers" in html
    assert "Agreement of score 7</h2>" in html
    assert "Agreement of score 8</h2>" not in html
