"""The evaluator `detection`: figures that can be told by hand, clips and pictures, intervals by patient, the page."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from omlab.errors import InputError
from omlab.roles import Sample
from omlab_evaluators.detection.evaluator import DetectionEvaluator
from omlab_evaluators.detection.summary import STEPS, judged
from omlab_image import Image
from omlab_payloads.boxes import Box, Boxes
from omlab_video.clip import Clip
from omlab_video.over_time import BoxesClip


def square(left, top=10, *, score=None, label="polyp", side=40):
    return Box(near=(left, top), far=(left + side, top + side), label=label, score=score)


def boxes(*some):
    return Boxes(space="pixel", boxes=some)


@pytest.fixture
def evaluator():
    return DetectionEvaluator(rounds=50)


def measured(evaluator, cases, folder, *, groups=None):
    """Rows of (references, found) of each case."""
    rows = {}
    for n, (target, result) in enumerate(cases):
        sample = Sample(id=f"case {n}", inputs={}, target=target, group=groups[n] if groups else None)
        rows[sample.id] = evaluator.measure(sample, result, folder)
    return rows


def values(evaluator, rows, label=None):
    return {metric.name: metric.value for metric in evaluator.figures(rows) if metric.label == label}


def test_boxes_at_the_operating_point_can_be_counted_by_hand(evaluator, tmp_path):
    cases = [
        (boxes(square(0), square(100)), boxes(square(2, score=0.9), square(200, score=0.7), square(100, score=0.3))),
        (boxes(square(0)), boxes()),
    ]
    found = values(evaluator, measured(evaluator, cases, tmp_path))
    assert found["precision"] == pytest.approx(1 / 2)
    assert found["recall"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx(2 / 5)
    lower = DetectionEvaluator(score=0.3, rounds=1)
    assert values(lower, measured(lower, cases, tmp_path))["recall"] == pytest.approx(2 / 3)


def test_presence_of_a_frame_asks_for_no_overlap(evaluator, tmp_path):
    cases = [
        (boxes(square(0)), boxes(square(200, score=0.5, label="other"))),  # elsewhere, and something else
        (boxes(), boxes(square(0, score=0.6))),
        (boxes(square(0)), boxes(square(0, score=0.4))),
        (boxes(), boxes(square(0, score=0.4))),
    ]
    found = values(evaluator, measured(evaluator, cases, tmp_path))
    assert found["frame_presence_f1"] == pytest.approx(2 / 4)
    assert found["f1"] == 0


def test_a_crowd_is_neither_found_nor_missed(evaluator, tmp_path):
    crowd = Box(near=(0, 0), far=(300, 100), label="polyp", crowd=True)
    cases = [(boxes(crowd, square(400)), boxes(square(10, score=0.9), square(90, score=0.8), square(400, score=0.7)))]
    found = values(evaluator, measured(evaluator, cases, tmp_path))
    assert (found["ap"], found["precision"], found["recall"]) == (pytest.approx(1), 1, 1)


def test_the_frames_of_a_clip_are_judged_as_pictures_are(evaluator, tmp_path):
    draw = np.random.default_rng(0)
    pairs = [
        (
            boxes(square(0), square(90, label="other")),
            boxes(*(square(float(x), score=float(draw.random())) for x in xs)),
        )
        for xs in draw.uniform(0, 30, (6, 4))
    ]
    apart = measured(evaluator, pairs, tmp_path)
    clip = [tuple(BoxesClip(frames=side) for side in zip(*pairs, strict=True))]
    assert values(evaluator, measured(evaluator, clip, tmp_path)) == values(evaluator, apart)


def rows_of(evaluator, folder, *, cases, seed=0):
    """Boxes beside their references by chance, and false alarms; rows of many."""
    draw = np.random.default_rng(seed)
    pairs = []
    for _ in range(cases):
        ours = [square(float(100 * n), label="ab"[n % 2]) for n in range(draw.integers(4))]
        theirs = [
            square(box.near[0] + float(draw.normal(0, 6)), label=box.label, score=float(draw.uniform(0.3, 1)))
            for box in ours
        ] + [square(500.0, label="ab"[draw.integers(2)], score=float(draw.uniform(0, 0.7)))]
        pairs.append((boxes(*ours), boxes(*theirs)))
    return measured(evaluator, pairs, folder)


def test_a_case_that_counts_twice_is_there_twice(evaluator, tmp_path):
    rows = rows_of(evaluator, tmp_path, cases=12)
    counts = [2, 0, 1, 3, 1, 0, 1, 1, 2, 0, 1, 1]
    weighed = evaluator.resampled(rows).figures(np.array([counts], np.float64))[0]
    repeated = {
        f"{case} {n}": row for (case, row), count in zip(rows.items(), counts, strict=True) for n in range(count)
    }
    wanted = values(evaluator, repeated)
    names = [measure.name for measure in evaluator.resampled(rows).measures]
    np.testing.assert_allclose(weighed, [wanted[name] or np.nan for name in names])


def test_steps_of_the_curve_hardly_change_it(evaluator, tmp_path):
    rows = rows_of(evaluator, tmp_path, cases=1500)
    whole = judged(rows, score=0.5)
    assert min(len(one.scores) for one in whole.classes) > 3 * STEPS
    ones = np.ones((1, len(rows)))
    np.testing.assert_allclose(whole.figures(ones, steps=STEPS), whole.figures(ones), atol=0.003)


def test_cases_of_a_patient_are_drawn_together(evaluator, tmp_path):
    cases = [(boxes(square(0)), boxes(square(n * 2, score=0.9))) for n in range(12)]

    def interval(groups):
        rows = measured(evaluator, cases, tmp_path, groups=groups)
        found = next(metric for metric in evaluator.figures(rows) if metric.name == "ap")
        assert found.low is None or found.low <= found.value <= found.high
        return (found.high or 0) - (found.low or 0)

    assert interval(["one"] * 12) == 0
    assert interval([f"p{n // 6}" for n in range(12)]) > interval(None) > 0


@pytest.mark.parametrize(
    ("target", "result", "sentence"),
    [
        (None, boxes(), "has no reference boxes"),
        (boxes(square(0)), boxes(square(0)), r"\('polyp'\) of case a has no score"),
        (boxes(), Boxes(space="voxel"), "are in voxel space, but .* 'localisation'"),
        (BoxesClip(frames=[boxes()] * 2), BoxesClip(frames=[boxes()] * 3), "has 3 frames, its reference 2"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(evaluator, tmp_path, target, result, sentence):
    with pytest.raises(InputError, match=sentence):
        evaluator.measure(Sample(id="a", inputs={}, target=target), result, tmp_path)


def test_the_page_shows_curves_misses_and_false_alarms(evaluator, tmp_path):
    pixels = np.full((2, 120, 160, 3), 90, np.uint8)
    clip = Sample(
        id="clip", inputs={"clip": Clip.of(pixels)}, target=BoxesClip(frames=[boxes(square(0)), boxes(square(60))])
    )
    picture = Sample(id="picture", inputs={"image": Image(array=pixels[0])}, target=boxes(square(0)))
    found = BoxesClip(frames=[boxes(square(0, score=0.9)), boxes(square(0, score=0.8, label="reflex"))])
    rows = {
        "clip": evaluator.measure(clip, found, tmp_path),
        "picture": evaluator.measure(picture, boxes(square(1, score=0.7)), tmp_path),
    }
    report = evaluator.report(rows, tmp_path)
    assert any("No reference is a 'reflex' (references: 'polyp')" in note for note in report.notes)
    page = (tmp_path / "report.html").read_text()
    assert "1 missed, 1 false alarm." in page
    assert "of the frame of 2 that went worst" in page
    assert len(list((tmp_path / "overlays").iterdir())) == 2
    table = list(csv.DictReader((tmp_path / "cases.csv").read_text().splitlines()))
    assert [(row["case"], row["found"], row["missed"], row["false_alarms"]) for row in table] == [
        ("clip", "1", "1", "1"),
        ("picture", "1", "0", "0"),
    ]
    curve = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    assert [float(row["recall"]) for row in curve if row["iou"] == "0.5"] == pytest.approx([1 / 3, 2 / 3])


def test_without_a_box_there_is_a_page_without_figures(evaluator, tmp_path):
    rows = measured(evaluator, [(boxes(), boxes())], tmp_path)
    assert {metric.value for metric in evaluator.report(rows, tmp_path).metrics} == {None}


def test_names_may_be_spelt_otherwise(evaluator, tmp_path):
    cases = [(boxes(square(0, label="Polyp")), boxes(replace(square(0, score=0.9), label="polyp")))]
    assert values(evaluator, measured(evaluator, cases, tmp_path), label="Polyp")["ap50"] == pytest.approx(1)
