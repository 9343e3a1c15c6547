"""The evaluator `classification`: its figures against scikit-learn, what is not defined, and its page."""

import csv
import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from omlab.errors import InputError
from omlab.roles import Evaluator, Sample
from omlab_evaluators.classification.calibration import BINS
from omlab_evaluators.classification.evaluator import load
from omlab_evaluators.classification.page import SHOWN_CASES, confusion
from omlab_evaluators.classification.summary import judged, summarise
from omlab_payloads.classes import Classes

NAMES = ("normal", "pneumonia", "effusion")


@pytest.fixture
def evaluator():
    return load(None, settings={"bootstrap": 50, "seed": 0})


def of(*probabilities, names=NAMES, threshold=None):
    return Classes(names=names[: len(probabilities)], probabilities=probabilities, threshold=threshold)


def one(name, names=NAMES):
    return Classes(names=names, probabilities=[float(name == other) for other in names])


def measure(evaluator, pairs, tmp_path, groups=None):
    """Rows of cases `c0`, `c1`, ... of (reference, result)."""
    samples = [
        Sample(id=f"c{n}", inputs={}, target=target, group=groups[n] if groups else None)
        for n, (target, _) in enumerate(pairs)
    ]
    rows = {
        sample.id: evaluator.measure(sample, result, tmp_path)
        for sample, (_, result) in zip(samples, pairs, strict=True)
    }
    return json.loads(json.dumps(rows))


def by_label(report):
    return {(metric.name, metric.label): metric for metric in report.metrics}


def values(summary, classes):
    """What a summary says, as scikit-learn would: overall by key, by class as lists."""
    overall = {key: estimate.value for key, estimate in summary.overall.items()}
    per_class = {key: [estimate.value for estimate in row] for key, row in summary.by_class.items()}
    assert all(len(row) == classes for row in per_class.values())
    return overall, per_class


def mean(values):
    known = [value for value in values if value is not None and not math.isnan(value)]
    return sum(known) / len(known) if known else None


def is_close(found, wanted):
    if found is None or wanted is None or math.isnan(wanted):
        assert found is None
        assert wanted is None or math.isnan(wanted)
    else:
        assert found == pytest.approx(wanted, abs=1e-9)


def naive_ece(said, true):
    edges = np.linspace(0, 1, BINS + 1)
    total = 0.0
    for low, high in pairwise(edges):
        inside = (said >= low) & ((said < high) | ((high == 1) & (said == 1)))
        if inside.any():
            total += inside.sum() * abs(said[inside].mean() - true[inside].mean())
    return total / len(said)


def random_case(generator, classes, *, several):
    noise = generator.random(classes)
    return (noise if several else noise / noise.sum()).round(6)


@given(seed=st.integers(0, 10**6), cases=st.integers(1, 40), classes=st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_figures_of_single_classes_are_those_of_scikit_learn(seed, cases, classes):
    generator = np.random.default_rng(seed)
    names = [f"k{n}" for n in range(classes)]
    right = generator.integers(0, classes, cases)
    said = np.array([random_case(generator, classes, several=False) for _ in range(cases)])
    rows = {
        f"c{n}": load(None, settings={"bootstrap": 1, "seed": 0}).measure(
            Sample(id=f"c{n}", inputs={}, target=one(names[right[n]], names)),
            Classes(names=names, probabilities=said[n].clip(0, 1)),
            None,
        )
        for n in range(cases)
    }
    overall, per_class = values(summarise(rows, rounds=2, seed=0), classes)
    predicted = said.argmax(axis=1)
    matrix = reference.confusion_matrix(right, predicted, labels=range(classes))
    assert confusion(judged(rows)).tolist() == matrix.tolist()
    assert overall["accuracy"] == pytest.approx(reference.accuracy_score(right, predicted))
    sensitivity = [matrix[k, k] / matrix[k].sum() if matrix[k].sum() else math.nan for k in range(classes)]
    is_close(overall["balanced_accuracy"], mean(sensitivity))
    if set(predicted) <= set(right) != {right[0]}:  # of others scikit-learn warns
        is_close(overall["balanced_accuracy"], reference.balanced_accuracy_score(right, predicted))
    for k in range(classes):
        of_class = right == k
        is_close(per_class["sensitivity"][k], sensitivity[k])
        others = (~of_class).sum()
        rejected = ((predicted != k) & ~of_class).sum()
        is_close(per_class["specificity"][k], rejected / others if others else None)
        is_close(
            per_class["f1"][k],
            reference.f1_score(of_class, predicted == k) if of_class.any() else None,
        )
        both = of_class.any() and not of_class.all()
        is_close(per_class["auroc"][k], reference.roc_auc_score(of_class, said[:, k]) if both else None)
        is_close(
            per_class["average_precision"][k],
            reference.average_precision_score(of_class, said[:, k]) if both else None,
        )
    for key in ("auroc", "average_precision", "f1"):
        is_close(overall[key], mean(per_class[key]))
    truth = np.eye(classes)[right]
    whole = ((said - truth) ** 2).sum(axis=1).mean()
    is_close(overall["brier"], whole / (2 if classes == 2 else 1))
    is_close(overall["ece"], naive_ece(said.max(axis=1), (predicted == right).astype(float)))


@given(seed=st.integers(0, 10**6), cases=st.integers(1, 30), classes=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_figures_of_several_classes_are_those_of_scikit_learn(seed, cases, classes):
    generator = np.random.default_rng(seed)
    names = [f"k{n}" for n in range(classes)]
    truth = generator.random((cases, classes)) < 0.4
    known = generator.random((cases, classes)) < 0.9
    known[:, 0] = True  # a case without any reference cannot be judged
    said = np.array([random_case(generator, classes, several=True) for _ in range(cases)])
    rows = {
        f"c{n}": load(None, settings={"bootstrap": 1, "seed": 0}).measure(
            Sample(
                id=f"c{n}",
                inputs={},
                target=Classes(names=names, probabilities=np.where(known[n], truth[n], np.nan), threshold=0.5),
            ),
            Classes(names=names, probabilities=said[n], threshold=0.5),
            None,
        )
        for n in range(cases)
    }
    overall, per_class = values(summarise(rows, rounds=2, seed=0), classes)
    decided = said >= 0.5
    balanced = []
    for k in range(classes):
        mask = known[:, k]
        y, p, d = truth[mask, k], said[mask, k], decided[mask, k]
        both = y.any() and not y.all()
        sensitivity = d[y].mean() if y.any() else None
        specificity = (~d[~y]).mean() if (~y).any() else None
        is_close(per_class["sensitivity"][k], sensitivity)
        is_close(per_class["specificity"][k], specificity)
        is_close(per_class["f1"][k], reference.f1_score(y, d) if y.any() else None)
        is_close(per_class["auroc"][k], reference.roc_auc_score(y, p) if both else None)
        is_close(per_class["average_precision"][k], reference.average_precision_score(y, p) if both else None)
        balanced.append((sensitivity + specificity) / 2 if both else None)
    is_close(overall["balanced_accuracy"], mean(balanced))
    is_close(overall["accuracy"], ((truth == decided) | ~known).all(axis=1).mean())
    errors = np.where(known, (said - truth) ** 2, np.nan)
    is_close(overall["brier"], np.nanmean(errors, axis=1).mean())
    is_close(overall["ece"], naive_ece(said[known], truth[known].astype(float)))


def test_it_is_an_evaluator(evaluator):
    role: Evaluator = evaluator
    assert callable(role.measure)


def test_names_are_matched_and_what_the_model_lacks_counts_as_zero(evaluator, tmp_path):
    theirs = ("Pleural-Effusion", "NORMAL", "artefact")
    ours = ("normal", "pleural effusion", "fracture")
    pairs = [
        (one("normal", ours), of(0.1, 0.7, 0.2, names=theirs)),
        (one("pleural effusion", ours), of(0.2, 0.2, 0.6, names=theirs)),
        (one("fracture", ours), of(0.5, 0.3, 0.2, names=theirs)),
    ]
    rows = measure(evaluator, pairs, tmp_path)
    assert rows["c0"][0]["predicted"] == ["normal"]
    assert rows["c1"][0]["predicted"] == ["artefact"]
    found = judged(rows)
    assert found.names == ["normal", "pleural effusion", "fracture", "artefact"]
    assert found.probabilities[:, 2].tolist() == [0, 0, 0]
    report = evaluator.report(rows, tmp_path)
    assert by_label(report)["accuracy", None].value == pytest.approx(1 / 3)
    assert "Class 'fracture': the model has no such class, which counts as probability 0." in report.notes
    assert any("Class 'artefact': no case is of it" in note for note in report.notes)
    table = list(csv.reader((tmp_path / "confusion.csv").read_text().splitlines()))
    assert table[0] == ["reference", "normal", "pleural effusion", "fracture", "artefact"]
    assert table[2] == ["pleural effusion", "0", "0", "0", "1"]


@pytest.mark.parametrize(
    ("target", "result", "sentence"),
    [
        (None, of(0.5, 0.5), "Case c0 has no reference class"),
        (of(math.nan, math.nan), of(0.5, 0.5), "all its probabilities are NaN"),
        (one("normal"), of(0.5, math.nan), "Case c0: the probability of 'pneumonia' is not a number"),
        (one("normal"), of(0.5, 0.5, names=("cat", "dog")), r"no class of the reference \('normal'.*\('cat', 'dog'\)"),
    ],
)
def test_what_cannot_be_judged_fails_its_case(evaluator, tmp_path, target, result, sentence):
    with pytest.raises(InputError, match=sentence):
        measure(evaluator, [(target, result)], tmp_path)


def test_references_of_two_forms_are_refused(evaluator, tmp_path):
    rows = measure(
        evaluator, [(one("normal"), of(1, 0, 0)), (of(1, 0, 0, threshold=0.5), of(1, 0, 0, threshold=0.5))], tmp_path
    )
    with pytest.raises(InputError, match="The reference of case c1 has a threshold, that of others has none"):
        evaluator.report(rows, tmp_path)


def test_where_all_cases_are_of_one_class_what_is_not_defined_is_said(evaluator, tmp_path):
    rows = measure(evaluator, [(one("normal"), of(0.8, 0.1, 0.1)), (one("normal"), of(0.2, 0.5, 0.3))], tmp_path)
    report = evaluator.report(rows, tmp_path)
    found = by_label(report)
    assert found["accuracy", None].value == 0.5
    assert found["sensitivity", "normal"].value == 0.5
    for key in (("auroc", None), ("auroc", "normal"), ("specificity", "normal"), ("sensitivity", "effusion")):
        assert found[key].value is None
    assert any("Classes 'pneumonia', 'effusion': no case is of it" in note for note in report.notes)
    assert any("Class 'normal': every case is of it" in note for note in report.notes)
    assert any("With 2 cases" in note for note in report.notes)
    assert "\N{EN DASH}" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_cases_of_one_patient_are_drawn_together_and_the_same_seed_gives_the_same(tmp_path):
    pairs = [(one("normal"), of(0.9, 0.1, 0) if n < 4 else of(0.1, 0.9, 0)) for n in range(8)]
    judge = load(None, settings={"bootstrap": 300, "seed": 0})
    apart = measure(judge, pairs, tmp_path)
    together = measure(judge, pairs, tmp_path, groups=[f"p{n // 4}" for n in range(8)])
    widths = []
    for rows in (apart, together):
        estimate = summarise(rows, rounds=300, seed=0).overall["accuracy"]
        assert estimate == summarise(rows, rounds=300, seed=0).overall["accuracy"]
        assert estimate.low <= estimate.value == 0.5 <= estimate.high
        widths.append(estimate.high - estimate.low)
    assert widths[1] > widths[0]
    alone = measure(judge, pairs, tmp_path, groups=["p"] * 8)
    assert summarise(alone, rounds=300, seed=0).overall["accuracy"].low is None


@pytest.fixture
def rows(evaluator, tmp_path):
    """A right case, one wrong and sure of it, one wrong and in doubt, one right and in doubt."""
    pairs = [
        (one("normal"), of(0.98, 0.01, 0.01)),
        (one("pneumonia"), of(0.05, 0.05, 0.9)),
        (one("effusion"), of(0.36, 0.3, 0.34)),
        (one("effusion"), of(0.3, 0.3, 0.4)),
    ]
    return measure(evaluator, pairs, tmp_path)


def test_the_page_shows_wrong_cases_first_and_where_it_comes_from(evaluator, rows, tmp_path):
    (tmp_path / "history.json").write_text(json.dumps([{"epoch": n, "loss": 1 / (n + 1)} for n in range(5)]))
    request = {"model": {"name": "toy"}, "data": {"name": "cases", "split": "test"}}
    (tmp_path / "run.json").write_text(json.dumps({"run": "evaluate", "request": request}))
    (tmp_path / "cases.jsonl").write_text('{"id": "bad", "status": "failed", "reason": "bad.png is empty."}\n')
    evaluator.report(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    cases = html[html.index("By case</h2>") :]
    places = [cases.index(f">{case}<") for case in ("c1", "c2", "c3", "c0")]
    assert places == sorted(places)
    for words in (
        "toy on cases (test): 4 cases, 3 classes; some cases failed",
        "Calibration", "Confusion", "Training", "Provenance", "bad.png is empty.",
    ):  # fmt: skip
        assert words in html


def test_the_same_rows_give_the_same_files(evaluator, rows, tmp_path):
    names = ("report.html", "cases.csv", "confusion.csv")
    evaluator.report(rows, tmp_path)
    first = [(tmp_path / name).read_bytes() for name in names]
    evaluator.report(rows, tmp_path)
    assert [(tmp_path / name).read_bytes() for name in names] == first


def test_the_table_of_cases_holds_every_figure_and_no_formula(evaluator, tmp_path):
    names = ('=HYPERLINK("http://x")', "b")
    rows = measure(evaluator, [(one("b", names), of(0.25, 0.75, names=names))], tmp_path, groups=["-p"])
    evaluator.report(rows, tmp_path)
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as stream:
        header, row = list(csv.reader(stream))
    assert row == ["c0", "'-p", "b", "b", "yes", "0.0625", "0.25", "0.75"]
    assert header[-2] == 'p =HYPERLINK("http://x")'
    with (tmp_path / "confusion.csv").open(newline="", encoding="utf-8") as stream:
        assert next(csv.reader(stream))[1] == f"'{names[0]}"


def test_several_classes_have_counts_and_no_confusion(evaluator, tmp_path):
    pairs = [
        (of(1, 1, math.nan, threshold=0.5), of(0.9, 0.2, 0.6, threshold=0.5)),
        (of(0, 1, 0, threshold=0.5), of(0.1, 0.8, 0.7, threshold=0.5)),
    ]
    report = evaluator.report(measure(evaluator, pairs, tmp_path), tmp_path)
    found = by_label(report)
    assert found["accuracy", None].value == 0
    assert found["sensitivity", "pneumonia"].value == 0.5
    assert found["sensitivity", "effusion"].value is None
    assert found["specificity", "effusion"].n == 1
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Not annotated" in html
    assert "All classes right" in html
    assert "Confusion</h2>" not in html
    assert not (tmp_path / "confusion.csv").exists()


def test_very_many_cases_and_classes_stay_readable(tmp_path):
    names = [f"class {n}" for n in range(30)]
    generator = np.random.default_rng(0)
    pairs = []
    for _ in range(SHOWN_CASES + 20):
        said = generator.dirichlet(np.ones(30)).clip(0, 1)
        pairs.append((one(names[generator.integers(30)], names), Classes(names=names, probabilities=said)))
    judge = load(None, settings={"bootstrap": 20, "seed": 0})
    judge.report(measure(judge, pairs, tmp_path), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"The first {SHOWN_CASES} of {SHOWN_CASES + 20} cases" in html
    assert "The most frequent confusions" in html
    assert len(html) < 3_000_000
