import csv
import json
import math
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from omlab.errors import GeometryError, InputError, OmlabWarning, SettingsError
from omlab.records import Record
from omlab.roles import Evaluator, Sample
from omlab_evaluators.overlays import picture_path
from omlab_evaluators.segmentation.evaluator import load
from omlab_evaluators.segmentation.summary import summarise

DEFAULTS = {"surface_tolerance_mm": 2.0, "bootstrap": 200, "seed": 0, "labels": []}


@pytest.fixture
def evaluator():
    return load(None, settings=DEFAULTS)


def sample_of(target, *, id="case-1", group=None, stand_ins=None):
    image = stand_ins.Volume(np.zeros((1, *target.array.shape)), target.affine) if stand_ins else target
    return Sample(id=id, inputs={"volume": image}, target=target, group=group)


def without(label_map, value):
    array = np.where(label_map.array == value, 0, label_map.array).astype(np.uint8)
    return type(label_map)(array, label_map.affine, label_map.labels)


def measured(evaluator, target, prediction, folder, **kwargs):
    return {row["label"]: row for row in evaluator.measure(sample_of(target, **kwargs), prediction, folder)}


def figures(row):
    return row["status"], row["dice"], row["surface_dice"], row["hd95"]


def test_it_is_an_evaluator(evaluator):
    role: Evaluator = evaluator
    assert callable(role.measure)
    assert callable(role.report)


def test_a_perfect_prediction(evaluator, stand_ins, tmp_path):
    target = stand_ins.two_organs()
    rows = measured(evaluator, target, target, tmp_path, stand_ins=stand_ins)
    assert list(rows) == ["liver", "spleen"]
    assert figures(rows["liver"]) == ("found", 1.0, 1.0, 0.0)
    assert rows["spleen"]["reference_ml"] == pytest.approx((target.array == 2).sum() * 12 / 1000)
    assert json.loads(json.dumps(rows)) == rows


def test_a_shifted_organ_is_as_far_away_as_it_was_shifted(evaluator, stand_ins, tmp_path):
    target, prediction = stand_ins.two_organs(), stand_ins.two_organs(shift=1)
    row = measured(evaluator, target, prediction, tmp_path)["spleen"]
    assert row["hd95"] == pytest.approx(2.0)
    assert row["surface_dice"] == 1.0  # the tolerance is one voxel
    assert 0.5 < row["dice"] < 1
    strict = load(None, settings={**DEFAULTS, "surface_tolerance_mm": 1.0})
    assert measured(strict, target, prediction, tmp_path)["spleen"]["surface_dice"] < 0.9


def test_how_empty_masks_count(evaluator, stand_ins, tmp_path):
    both = stand_ins.two_organs()
    liver = without(both, 2)
    assert figures(measured(evaluator, both, liver, tmp_path)["spleen"]) == ("not found", 0.0, 0.0, None)
    assert figures(measured(evaluator, liver, both, tmp_path)["spleen"]) == ("invented", 0.0, 0.0, None)
    assert figures(measured(evaluator, liver, liver, tmp_path)["spleen"]) == ("absent", None, None, None)


def test_what_is_not_annotated_does_not_count(evaluator, stand_ins, tmp_path):
    prediction = stand_ins.two_organs()
    liver = prediction.array == 1
    half = np.zeros_like(liver)
    half[: np.argwhere(liver)[:, 0].max()] = True
    array = np.where(liver, np.where(half, 1, 2), 0).astype(np.uint8)
    target = stand_ins.LabelMap(array, prediction.affine, ())
    sample = replace(sample_of(target), ignored=(2,))
    prediction = without(prediction, 2)
    (row,) = evaluator.measure(sample, prediction, tmp_path)
    assert (row["value"], row["dice"]) == (1, 1.0)
    (first, second) = evaluator.measure(sample_of(target), prediction, tmp_path)
    assert first["dice"] < 1
    assert second["status"] == "not found"


def test_classes_are_matched_by_name(evaluator, stand_ins, tmp_path):
    target = stand_ins.two_organs()
    swapped = stand_ins.LabelMap(
        np.choose(target.array, [0, 2, 1]).astype(np.uint8),
        target.affine,
        [stand_ins.Label(1, "Spleen"), stand_ins.Label(2, "liver")],
    )
    assert {row["dice"] for row in measured(evaluator, target, swapped, tmp_path).values()} == {1.0}


def test_a_class_that_the_prediction_lacks_counts_as_not_found(evaluator, stand_ins, tmp_path):
    target = stand_ins.two_organs()
    prediction = stand_ins.LabelMap(target.array, target.affine, target.labels[:2])
    with pytest.warns(OmlabWarning, match="spleen"):
        rows = measured(evaluator, target, prediction, tmp_path)
    assert rows["spleen"]["status"] == "not found"


def test_only_the_wanted_labels(stand_ins, tmp_path):
    chosen = load(None, settings={**DEFAULTS, "labels": ["spleen"]})
    assert list(measured(chosen, stand_ins.two_organs(), stand_ins.two_organs(), tmp_path)) == ["spleen"]


def test_other_grids_are_refused(evaluator, stand_ins, tmp_path):
    target = stand_ins.two_organs()
    shifted = target.affine.copy()
    shifted[0, 3] += 2
    for wrong, words in (
        (stand_ins.LabelMap(target.array[1:], target.affine, target.labels), "23 x 20 x 12 voxels"),
        (stand_ins.LabelMap(target.array, shifted, target.labels), "elsewhere in space.*by up to 2"),
    ):
        with pytest.raises(GeometryError, match=f"case-1.*{words}"):
            measured(evaluator, target, wrong, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_case_without_reference_is_refused(evaluator, stand_ins, tmp_path):
    with pytest.raises(InputError, match="Case a has no reference"):
        evaluator.measure(Sample(id="a", inputs={"volume": stand_ins.two_organs()}), stand_ins.two_organs(), tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"surface_tolerance_mm": -1.0}, {"surface_tolerance_mm": math.nan}, {"bootstrap": 0}]
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        load(None, settings={**DEFAULTS, **wrong})


def test_pictures_lie_where_the_report_looks_for_them(evaluator, stand_ins, tmp_path):
    target = stand_ins.two_organs()
    sample = sample_of(target, id="a/b: c", stand_ins=stand_ins)
    evaluator.measure(sample, target, tmp_path)
    path = picture_path(tmp_path, case="a/b: c")
    assert path.parent == tmp_path / "overlays"
    assert path.read_bytes() == target.overlay(sample.inputs, target=target)
    assert picture_path(tmp_path, case="a/b") != picture_path(tmp_path, case="a_b")


def test_what_cannot_be_drawn_costs_no_figures(evaluator, stand_ins, tmp_path):
    target = stand_ins.two_organs()
    with pytest.warns(OmlabWarning, match="Case case-1 has no picture: There is nothing to draw on"):
        rows = evaluator.measure(Sample(id="case-1", inputs={}, target=target), target, tmp_path)
    assert rows[0]["dice"] == 1.0
    plain = stand_ins.Plain(target.array, target.affine, target.labels)
    assert measured(evaluator, target, plain, tmp_path)["liver"]["dice"] == 1.0
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def rows(evaluator, stand_ins, tmp_path):
    """Four cases: perfect, shifted, the spleen not found, the spleen in neither."""
    both = stand_ins.two_organs()
    pairs = {
        "perfect": (both, both),
        "shifted": (both, stand_ins.two_organs(shift=2)),
        "missed": (both, without(both, 2)),
        "neither": (without(both, 2), without(both, 2)),
    }
    return {
        id: evaluator.measure(sample_of(target, id=id, stand_ins=stand_ins), prediction, tmp_path)
        for id, (target, prediction) in pairs.items()
    }


def test_the_report_sums_up(evaluator, rows, tmp_path):
    report = evaluator.report(rows, tmp_path)
    by = {(metric.name, metric.label): metric for metric in report.metrics}
    assert len(by) == 9
    shifted = next(row for row in rows["shifted"] if row["label"] == "spleen")
    spleen = by["dice", "spleen"]
    assert spleen.value == pytest.approx((1 + shifted["dice"] + 0) / 3)
    assert spleen.n == 3
    assert spleen.low <= spleen.value <= spleen.high
    assert by["hd95", "spleen"].n == 2
    assert by["hd95", "spleen"].value == pytest.approx(shifted["hd95"] / 2)
    assert (by["hd95", "spleen"].unit, by["hd95", "spleen"].higher_is_better) == ("mm", False)
    assert by["dice", "liver"].value == 1.0
    assert by["dice", None].value == pytest.approx((1 + spleen.value) / 2)
    assert by["dice", None].n == 4
    assert any("1 not found" in note for note in report.notes)
    assert any("With 4 cases" in note for note in report.notes)


def test_the_same_rows_give_the_same_files(evaluator, rows, tmp_path):
    names = ("report.html", "cases.csv")
    evaluator.report(rows, tmp_path)
    first = [(tmp_path / name).read_bytes() for name in names]
    evaluator.report(json.loads(json.dumps(rows)), tmp_path)
    assert [(tmp_path / name).read_bytes() for name in names] == first


def test_the_table_of_cases_holds_every_row(evaluator, rows, tmp_path):
    evaluator.report(rows, tmp_path)
    with (tmp_path / "cases.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [(row["case"], row["label"]) for row in table] == [(id, r["label"]) for id in rows for r in rows[id]]
    missed = next(row for row in table if (row["case"], row["label"]) == ("missed", "spleen"))
    assert (missed["status"], missed["dice"], missed["hd95"]) == ("not found", "0.0", "")


def test_the_page_shows_the_worst_case_first_and_what_is_in_the_folder(evaluator, rows, tmp_path):
    (tmp_path / "history.json").write_text(json.dumps([{"epoch": n, "loss": 1 / (n + 1)} for n in range(5)]))
    request = {"model": {"name": "stunet-small"}, "data": {"name": "phantom", "split": "test"}}
    (tmp_path / "run.json").write_text(json.dumps({"run": "evaluate", "request": request}))
    cases = [Record(id="perfect", status="done"), Record(id="bad", status="failed", reason="bad.nii.gz is empty.")]
    (tmp_path / "cases.jsonl").write_bytes(b"".join(case.to_line() for case in cases))
    evaluator.report(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    galleries = [html.index(f"<h3>{id}</h3>") for id in ("missed", "shifted", "perfect", "neither")]
    assert galleries[0] < galleries[1] < min(galleries[2:])
    assert html.count("data:image/png") == 4
    for words in (
        "Training",
        "bad.nii.gz is empty.",
        "stunet-small on phantom (test): 4 cases, 2 classes; some cases failed",
        "not found: spleen",
    ):
        assert words in html


def test_the_page_says_above_all_figures_what_random_weights_mean_also_of_predictions(evaluator, rows, tmp_path):
    model = {"name": "stunet-tiny.untrained", "weights": {"tag": "untrained", "sha256": None}, "needs": {}}
    request = {"model": model, "predictions": "ab" * 32, "data": {"name": "phantom", "split": "test"}}
    (tmp_path / "run.json").write_text(json.dumps({"run": "evaluate", "request": request}))
    evaluator.report(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "stunet-tiny.untrained on phantom (test): 4 cases" in html
    assert html.index("drawn at random and have learned nothing") < html.index('class="key-figures"')
    (tmp_path / "run.json").write_text(json.dumps({"run": "evaluate", "request": {**request, "model": None}}))
    evaluator.report(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "predictions of unknown origin on phantom (test)" in html
    assert html.index("no log of a run lies beside them") < html.index('class="key-figures"')


def test_the_page_says_of_each_picture_what_the_picture_says_of_itself(evaluator, rows, tmp_path):
    said, stream = PngInfo(), BytesIO()
    said.add_itxt("Description", "Axial slice 7 of 12 from the feet (S 18.0 mm). Filled: liver.")
    PillowImage.new("RGB", (4, 4)).save(stream, "PNG", pnginfo=said)
    picture_path(tmp_path, case="missed").write_bytes(stream.getvalue())
    evaluator.report(rows, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<figcaption>Axial slice 7 of 12 from the feet (S 18.0 mm). Filled: liver.</figcaption>" in html


def test_a_damaged_history_does_not_cost_the_report(evaluator, rows, tmp_path):
    (tmp_path / "history.json").write_text("[{")
    with pytest.warns(OmlabWarning, match=r"history\.json cannot be read"):
        evaluator.report(rows, tmp_path)
    assert "Training" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_was_forgotten_is_said(evaluator, rows, tmp_path):
    assert not any("forgotten" in note for note in evaluator.report(rows, tmp_path).notes)
    history = [{"epoch": n, "loss": 1 / n, "val_kept_dice": 1 - 0.05 * n} for n in (1, 2)]
    (tmp_path / "history.json").write_text(json.dumps(history))
    (note,) = (note for note in evaluator.report(rows, tmp_path).notes if "forgotten" in note)
    assert "mean Dice of 0.900" in note
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count(note) == 2
    assert html.index(note) > html.index("Training</h2>")


def test_cases_without_any_class_are_named(evaluator, stand_ins, tmp_path):
    empty = stand_ins.LabelMap(np.zeros((4, 4, 4), dtype=np.uint8))
    rows = {"blank": evaluator.measure(sample_of(empty), empty, tmp_path)}
    assert rows == {"blank": []}
    report = evaluator.report(rows, tmp_path)
    assert {metric.value for metric in report.metrics} == {None}
    assert any("blank" in note for note in report.notes)


def test_cases_of_one_patient_are_drawn_together():
    def row(dice, group):
        return [{"label": "x", "group": group, "dice": dice, "surface_dice": dice, "hd95": 1.0}]

    values = [0.1, 0.1, 0.1, 0.9, 0.9, 0.9]
    apart = summarise({str(n): row(v, None) for n, v in enumerate(values)}, rounds=500, seed=0)
    together = summarise({str(n): row(v, f"p{n // 3}") for n, v in enumerate(values)}, rounds=500, seed=0)
    width = [s.overall["dice"].high - s.overall["dice"].low for s in (apart, together)]
    assert width[1] > width[0]
    assert together.overall["dice"].value == pytest.approx(0.5)


def told(label_map, **figures):
    """The label map with what a model tells of its classes."""
    made = type(label_map)(label_map.array, label_map.affine, label_map.labels)
    names = [label.name for label in label_map.labels if label.value]
    object.__setattr__(made, "facts", {"structures": dict.fromkeys(names, figures)})
    return made


def test_how_sure_a_model_was_stands_beside_its_dice(evaluator, stand_ins, tmp_path):
    target = stand_ins.two_organs()
    sure = {"margin": 0.9, "entropy": 0.1, "surface_margin": 0.4, "surface_entropy": 0.6}
    rows = {}
    for number in range(4):
        prediction = told(stand_ins.two_organs(shift=number % 3), confidence=0.9 - number / 10, **sure)
        rows[f"case-{number}"] = evaluator.measure(sample_of(target), prediction, tmp_path)
    assert rows["case-1"][0]["confidence"] == pytest.approx(0.8)
    evaluator.report(rows, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Dice and confidence" in page
    assert "Lowest confidence" in page
    assert "0.600" in page
    with (tmp_path / "cases.csv").open() as stream:
        assert float([row["confidence"] for row in csv.DictReader(stream)][-1]) == pytest.approx(0.6)


def test_without_calibration_nothing_is_called_a_confidence(evaluator, stand_ins, tmp_path):
    target = stand_ins.two_organs()
    sure = {"margin": 0.9, "entropy": 0.1, "surface_margin": 0.4, "surface_entropy": 0.6}
    rows = {"one": evaluator.measure(sample_of(target), told(target, **sure), tmp_path)}
    evaluator.report(rows, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Dice and margin" in page
    assert "Lowest margin" in page
    assert "Lowest confidence" not in page
    rows = {"one": evaluator.measure(sample_of(target), target, tmp_path)}
    evaluator.report(rows, tmp_path)
    assert "margin" not in (tmp_path / "report.html").read_text().split("<body", 1)[1]
