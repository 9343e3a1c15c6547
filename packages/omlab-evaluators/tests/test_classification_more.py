"""Kappa, curves, published means, prediction sets, parts of the cases, another model, and the strip of pictures."""

import csv
import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from omlab.errors import InputError
from omlab.roles import Sample
from omlab_evaluators.classification.comparison import compare
from omlab_evaluators.classification.curves import GRID, curves_of
from omlab_evaluators.classification.evaluator import load
from omlab_evaluators.classification.kappa import quadratic_kappa
from omlab_evaluators.classification.subgroups import UNKNOWN, by_subgroup
from omlab_evaluators.classification.summary import judged, summarise
from omlab_evaluators.thumbnails import SIZE
from omlab_payloads.classes import Classes
from omlab_report import encode_png

NAMES = ("a", "b", "c")


def one(name):
    return Classes(names=NAMES, probabilities=[float(name == other) for other in NAMES])


def several(*row):
    return Classes(names=NAMES, probabilities=row, threshold=0.5)


def evaluator(**given):
    return load(None, settings={"bootstrap": 40, "seed": 0, **given})


def rows_of(pairs, judge=None, *, groups=None, meta=None, inputs=None, folder=None):
    judge = judge or evaluator()
    rows = {}
    for n, (target, result) in enumerate(pairs):
        sample = Sample(
            id=f"c{n}", inputs=inputs or {}, target=target, group=groups[n] if groups else None,
            meta=meta[n] if meta else {},
        )  # fmt: skip
        rows[sample.id] = judge.measure(sample, result, folder)
    return json.loads(json.dumps(rows))


def random_pairs(seed, cases, *, skill=1.0):
    """Cases of three classes, and a model that is right the more often the larger its skill."""
    truth = np.random.default_rng(0).integers(0, 3, cases)
    logits = np.random.default_rng(seed).normal(size=(cases, 3))
    logits[np.arange(cases), truth] += skill
    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [(one(NAMES[t]), Classes(names=NAMES, probabilities=p)) for t, p in zip(truth, said, strict=True)]


@given(seed=st.integers(0, 10**6), cases=st.integers(1, 40), classes=st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_kappa_is_that_of_scikit_learn_in_every_round(seed, cases, classes):
    generator = np.random.default_rng(seed)
    right, said = generator.integers(0, classes, (2, cases))
    weights = generator.integers(0, 3, (3, cases)).astype(float)
    found = quadratic_kappa(np.eye(classes, dtype=bool)[right], np.eye(classes, dtype=bool)[said], weights)
    for n, row in enumerate(weights):
        some = row > 0
        if len(set(right[some]) | set(said[some])) < 2:  # chance alone agrees
            assert math.isnan(found[n])
            continue
        wanted = reference.cohen_kappa_score(
            right[some], said[some], weights="quadratic", labels=range(classes), sample_weight=row[some]
        )
        assert found[n] == pytest.approx(wanted, abs=1e-9)


@given(seed=st.integers(0, 10**6), cases=st.integers(3, 40), levels=st.sampled_from([3, 1000]))
@settings(max_examples=20, deadline=None)
def test_curves_are_those_of_scikit_learn(seed, cases, levels):
    generator = np.random.default_rng(seed)
    scores = np.round(generator.random(cases) * levels) / levels
    positive = generator.random(cases) < 0.5
    positive[:2] = True, False
    pairs = [(several(float(p), 0, 0), several(s, 0, 0)) for s, p in zip(scores, positive, strict=True)]
    found = judged(rows_of(pairs))
    (curves,) = curves_of(found, range(cases), places=[0, 1], rounds=20, seed=0)  # no case is of the second class
    x, y, _ = reference.roc_curve(positive, scores, drop_intermediate=False)
    assert curves.roc.x == pytest.approx(x)
    assert curves.roc.y == pytest.approx(y)
    precision, recall, _ = reference.precision_recall_curve(positive, scores)
    assert curves.precision_recall.x[::-1] == pytest.approx(recall[:-1])
    assert curves.precision_recall.y[::-1] == pytest.approx(precision[:-1])
    assert curves.share == positive.mean()
    for curve in (curves.roc, curves.precision_recall):
        assert (curve.low <= curve.high + 1e-12).all()
        assert curve.low.shape == GRID.shape


def test_bands_need_a_second_patient():
    found = judged(rows_of([(several(1, 0, 0), several(0.8, 0, 0)), (several(0, 0, 0), several(0.1, 0, 0))]))
    (curves,) = curves_of(found, ["p", "p"], places=[0], rounds=20, seed=0)
    assert curves.roc.low is None


def test_undefined_classes_are_left_out_or_counted_as_published():
    """The class before counts twice in the mean AUROC, and average precision is 0, where no case is of a class."""
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 2, (20, 3)).astype(float)
    truth[:2] = [[0, 0, 0], [1, 0, 1]]
    truth[:, 1] = 0
    said = generator.random((20, 3))
    rows = rows_of([(several(*t), several(*p)) for t, p in zip(truth, said, strict=True)])
    first, last = (reference.roc_auc_score(truth[:, k], said[:, k]) for k in (0, 2))
    ap_first, ap_last = (reference.average_precision_score(truth[:, k], said[:, k]) for k in (0, 2))
    plain = summarise(rows, rounds=5, seed=0).overall
    assert plain["auroc"].value == pytest.approx((first + last) / 2)
    assert plain["average_precision"].value == pytest.approx((ap_first + ap_last) / 2)
    published = summarise(rows, rounds=5, seed=0, undefined="published")
    assert published.overall["auroc"].value == pytest.approx((first + first + last) / 3)
    assert published.overall["average_precision"].value == pytest.approx((ap_first + ap_last) / 3)
    assert published.by_class["auroc"][1].value is None


def test_the_note_says_which_way_was_counted(tmp_path):
    pairs = [(several(1, 0, 0), several(0.9, 0.1, 0.2)), (several(0, 0, 1), several(0.3, 0.2, 0.6))]
    for undefined, words in (("left-out", "leaves out those"), ("published", "As in MedFMC's published figures")):
        judge = evaluator(undefined=undefined)
        report = judge.report(rows_of(pairs, judge), tmp_path)
        assert any(words in note for note in report.notes)
        assert any("Class 'b': no case is of it" in note for note in report.notes)


def with_set(name, *row, level):
    return one(name), Classes(names=NAMES, probabilities=row, set_level=level, set_coverage=0.9)


def test_coverage_of_prediction_sets_is_reported(tmp_path):
    pairs = [
        with_set("a", 0.5, 0.3, 0.2, level=0.25),  # {a, b}
        with_set("b", 0.5, 0.3, 0.2, level=0.25),
        with_set("c", 0.5, 0.3, 0.2, level=0.25),
        with_set("a", 0.2, 0.2, 0.6, level=0.0),  # all three
    ]
    judge = evaluator()
    report = judge.report(rows_of(pairs, judge), tmp_path)
    found = {metric.name: metric.value for metric in report.metrics if metric.label is None}
    assert found["coverage"] == 0.75
    assert found["set_size"] == pytest.approx(9 / 4)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "meant to be 0.9" in html
    plain = judge.report(rows_of([*pairs, (one("a"), Classes(names=NAMES, probabilities=(1, 0, 0)))], judge), tmp_path)
    assert "coverage" not in {metric.name for metric in plain.metrics}  # one result has no set


def test_a_set_of_several_holds_all_that_is_right_of_what_is_annotated():
    sets = {"threshold": 0.5, "set_level": 0.4, "set_coverage": 0.9}
    said = Classes(names=NAMES, probabilities=(0.9, 0.45, 0.1), **sets)
    rows = rows_of([(several(1, 1, math.nan), said), (several(1, 1, 1), said), (several(0, 0, 0), said)])
    assert summarise(rows, rounds=5, seed=0).overall["coverage"].value == pytest.approx(2 / 3)


META = [{"site": "north" if n % 2 else "south", "age": 30 + n, "note": None if n < 10 else "x"} for n in range(60)]


def test_parts_of_the_cases_are_judged_apart(tmp_path):
    judge = evaluator(subgroups=["site", "age", "note"])
    pairs = random_pairs(1, 60, skill=3)
    for n in range(1, 60, 2):  # the north is served badly
        target, result = pairs[n]
        pairs[n] = (target, Classes(names=NAMES, probabilities=np.roll(result.probabilities, 1)))
    rows = rows_of(pairs, judge, meta=META)
    site, age, note = by_subgroup(rows, judged(rows), columns=judge.subgroups, rounds=20, seed=0)
    assert [group.value for group in site.groups] == ["north", "south"]
    assert site.worst.value == "north"
    assert site.best.value == "south"
    alone = {name: row for n, (name, row) in enumerate(rows.items()) if n % 2}
    assert site.groups[0].summary.overall["auroc"] == summarise(alone, rounds=20, seed=0).overall["auroc"]
    assert [group.value for group in age.groups] == ["30 to below 49.6667", "49.6667 to below 69.3333", "69.3333 to 89"]
    assert [group.cases for group in age.groups] == [20, 20, 20]
    assert [group.value for group in note.groups] == ["x", UNKNOWN]
    assert note.ranked_by is None  # of one value that is known none can be the worst
    report = judge.report(rows, tmp_path)
    assert report.details["subgroups"][0]["worst"] == "north"
    json.dumps(report.details, allow_nan=False)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "By site</h2>" in html
    assert "Worst: north (AUROC" in html
    assert "Their intervals do not overlap." in html


def test_no_part_is_called_the_worst_where_the_intervals_do_not_say_so(tmp_path):
    judge = evaluator(subgroups=["site"])
    judge.report(rows_of(random_pairs(1, 24, skill=1), judge, meta=META), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Lowest: " in html
    assert "Worst: " not in html
    assert "the cases do not say that one is served worse than the other" in html


def test_a_column_that_is_not_there_is_said():
    judge = evaluator(subgroups=["ward"])
    with pytest.raises(InputError, match=r"Case c0 has no 'ward' .* it has site, age.*data\.meta=ward"):
        rows_of(random_pairs(0, 1), judge, meta=[{"site": 1, "age": 2}])


def test_two_models_are_compared_on_the_same_cases():
    weak, strong = (rows_of(random_pairs(seed, 120, skill=skill)) for seed, skill in ((1, 0.5), (2, 3.0)))
    found = compare(strong, weak, rounds=200, seed=0)
    by_key = {row.measure.key: row for row in found.rows}
    auroc = by_key["auroc"]
    assert auroc.difference.value == pytest.approx(auroc.ours - auroc.theirs)
    assert auroc.ours == summarise(strong, rounds=2, seed=0).overall["auroc"].value
    assert auroc.is_clear
    assert auroc.is_better
    assert by_key["brier"].is_better  # the lower one is
    back = {row.measure.key: row for row in compare(weak, strong, rounds=200, seed=0).rows}
    assert back["auroc"].difference.low == pytest.approx(-auroc.difference.high)
    assert not back["auroc"].is_better


def test_a_model_does_not_differ_from_itself_and_pairing_tells_more_than_two_intervals():
    rows = rows_of(random_pairs(1, 60))
    for row in compare(rows, rows, rounds=50).rows:
        assert (row.difference.value, row.difference.low, row.difference.high) == (0, 0, 0)
        assert not row.is_clear
    pairs = random_pairs(1, 200, skill=1)
    slightly = [(t, Classes(names=NAMES, probabilities=0.98 * np.array(r.probabilities) + 0.02 / 3)) for t, r in pairs]
    ours, theirs = rows_of(pairs), rows_of(slightly)
    brier = next(row for row in compare(ours, theirs, rounds=100).rows if row.measure.key == "brier")
    alone = [summarise(rows, rounds=100, seed=0).overall["brier"] for rows in (ours, theirs)]
    assert alone[0].high > alone[1].low  # their own intervals overlap
    assert brier.difference.high - brier.difference.low < 0.5 * (alone[0].high - alone[0].low)


def test_only_common_cases_with_the_same_reference_are_compared(tmp_path):
    pairs = random_pairs(1, 30)
    ours, theirs = rows_of(pairs[:25]), rows_of(pairs)
    theirs["c3"][0]["right"] = ["c" if theirs["c3"][0]["right"] != ["c"] else "a"]
    del theirs["c0"]
    found = compare(ours, theirs, rounds=5)
    assert (found.cases, found.ours_alone, found.theirs_alone, found.differing) == (23, 1, 5, 1)
    assert compare(ours, {"other": theirs["c1"]}, rounds=5).rows == ()


def run_of(folder, rows, *, model):
    folder.mkdir()
    request = {"model": {"name": model}, "data": {"name": "cases"}}
    (folder / "run.json").write_text(json.dumps({"omlab_run": 2, "run": "evaluate", "request": request}))
    lines = [json.dumps({"id": name, "status": "done", "values": {"rows": row}}) for name, row in rows.items()]
    (folder / "cases.jsonl").write_text("\n".join(lines) + "\n")


def test_the_page_compares_with_another_evaluation(tmp_path):
    run_of(tmp_path / "other", rows_of(random_pairs(2, 60, skill=0.3)), model="weaker")
    judge = evaluator(against=str(tmp_path / "other"))
    report = judge.report(rows_of(random_pairs(1, 50, skill=3), judge), tmp_path)
    assert report.details["comparison"]["against"] == "weaker"
    assert report.details["comparison"]["cases"] == 50
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Compared with weaker</h2>" in html
    assert ">better<" in html
    assert "10 cases of the other alone: left out." in html
    with pytest.raises(InputError, match="is not the folder of an evaluation"):
        evaluator(against=str(tmp_path / "nowhere"))


@dataclass(frozen=True)
class Picture:
    kind: ClassVar[str] = "picture"
    colour: int = 0

    def thumbnail(self, *, size: int) -> bytes:
        assert size == SIZE
        return encode_png(np.full((4, 6, 3), self.colour, dtype=np.uint8))


def test_the_strip_shows_wrong_and_right_cases_with_what_was_said(tmp_path):
    judge = evaluator()
    pairs = random_pairs(1, 30, skill=1.5)
    inputs: dict[str, Any] = {"number": object(), "image": Picture()}
    report_rows = rows_of(pairs, judge, inputs=inputs, folder=tmp_path)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 30
    judge.report(report_rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    strip = html[html.index("Right and wrong</h2>") :]
    assert strip.index("<h3>Wrong</h3>") < strip.index("<h3>Right</h3>")
    assert 'class="pictures small"' in strip
    wrong = [n for n, (target, result) in enumerate(pairs) if target.predicted != result.predicted]
    assert f"(c{wrong[0]})" in strip[: strip.index("<h3>Right</h3>")] or len(wrong) > 12
    assert "said: " in strip


def test_the_strip_shows_where_the_model_looked(tmp_path):
    judge = evaluator()
    pairs = random_pairs(1, 40, skill=1.5)
    rows = rows_of(pairs, judge, inputs={"image": Picture()}, folder=tmp_path)
    shown = judge.illustrated(rows)
    assert 12 < len(shown) <= 24
    for case in shown[:3]:
        judge.illustrate(case, Picture(colour=200), tmp_path)
    with pytest.raises(InputError, match="no picture"):
        judge.illustrate(shown[3], object(), tmp_path)
    judge.report(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("where the model looked") >= 3
    assert all(f"{case}: where the model looked" in html for case in shown[:3])
    assert f"{shown[3]}: where the model looked" not in html


def test_curves_are_written_for_spreadsheets(tmp_path):
    judge = evaluator()
    judge.report(rows_of(random_pairs(1, 30), judge), tmp_path)
    with (tmp_path / "curves.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["curve"] for row in rows} == {"roc", "roc band", "precision-recall", "precision-recall band"}
    assert {row["class"] for row in rows} == set(NAMES)
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("Curves</h2>") == 1


def test_one_class_alone_leaves_no_curve_and_says_so(tmp_path):
    judge = evaluator()
    said = Classes(names=NAMES, probabilities=(0.6, 0.2, 0.2))
    report = judge.report(rows_of([(one("a"), said)] * 4, judge), tmp_path)
    assert not (tmp_path / "curves.csv").exists()
    found = {metric.name: metric.value for metric in report.metrics if metric.label is None}
    assert found["auroc"] is None
    assert found["quadratic_kappa"] is None
    assert found["accuracy"] == 1
