"""The evaluator `segmentation` on pictures and clips: Dice by hand, of the whole and by frame."""

from __future__ import annotations

import numpy as np
import pytest

from omlab.errors import GeometryError
from omlab.roles import Sample
from omlab_evaluators.segmentation.evaluator import SegmentationEvaluator
from omlab_evaluators.segmentation.summary import Settings
from omlab_image import Image, LabelMap2D
from omlab_video.clip import Clip
from omlab_video.over_time import LabelMapClip

NAMES = {1: "polyp"}


@pytest.fixture
def evaluator():
    return SegmentationEvaluator(Settings(bootstrap=20))


def masks(*sizes):
    """Frames of 8 x 8 pixels in which so many are a polyp's."""
    array = (np.arange(64) < np.array(sizes)[:, None]).astype(np.uint8)
    return LabelMapClip(array=array.reshape(-1, 8, 8), names=NAMES)


def sample(target, *, id="a", ignored=()):
    pixels = np.full((len(target.array), 8, 8, 3), 90, np.uint8)
    return Sample(id=id, inputs={"clip": Clip.of(pixels)}, target=target, group=id, ignored=ignored)


def test_a_clip_has_the_dice_of_all_frames_and_of_each(evaluator, tmp_path):
    (row,) = evaluator.measure(sample(masks(10, 20, 0, 0)), masks(10, 0, 0, 6), tmp_path)
    assert row["dice"] == pytest.approx(2 * 10 / (30 + 16))
    assert row["frame_dice"] == pytest.approx((1 + 0 + 0) / 3)  # the third frame has it in neither
    assert (row["status"], row["group"], row["frames"]) == ("found", "a", 2)


def test_what_is_not_annotated_does_not_count(evaluator, tmp_path):
    target = masks(10, 10)
    target.array[1] = np.where(target.array[1] == 1, 1, 7)
    (row,) = evaluator.measure(sample(target, ignored=(7,)), masks(10, 64), tmp_path)
    assert row["dice"] == 1


def test_the_page_of_clips_has_no_millimetres(evaluator, tmp_path):
    rows = {
        id: evaluator.measure(sample(masks(*ours), id=id), masks(*theirs), tmp_path)
        for id, ours, theirs in (("a", (9, 9), (9, 9)), ("b", (9, 0), (0, 0)), ("c", (0, 0), (3, 0)))
    }
    report = evaluator.report(rows, tmp_path)
    found = {(metric.name, metric.label): metric.value for metric in report.metrics}
    assert found == {
        (name, label): pytest.approx(1 / 3) for name in ("dice", "frame_dice") for label in ("polyp", None)
    }
    page = (tmp_path / "report.html").read_text()
    assert "HD95" not in page
    assert page.count("the prediction filled, the reference outlined") == 3
    assert [measure.name for measure in evaluator.resampled(rows).measures] == ["dice", "frame_dice"]


def test_pictures_have_one_dice(evaluator, tmp_path):
    target = LabelMap2D(array=masks(16).array[0], names=NAMES)
    image = Image(array=np.zeros((8, 8), np.uint8))
    case = Sample(id="a", inputs={"image": image}, target=target)
    (row,) = evaluator.measure(case, LabelMap2D(array=masks(8).array[0], names=NAMES), tmp_path)
    assert row["dice"] == pytest.approx(2 * 8 / 24)
    assert [metric.name for metric in evaluator.report({"a": [row]}, tmp_path).metrics] == ["dice", "dice"]


def test_other_frames_are_one_sentence(evaluator, tmp_path):
    with pytest.raises(GeometryError, match="has 3 x 8 x 8 frames and pixels, its reference 2 x 8 x 8"):
        evaluator.measure(sample(masks(1, 1)), masks(1, 1, 1), tmp_path)


@pytest.mark.parametrize("of_clip", [True, False])
def test_how_sure_a_model_was_stands_beside_its_dice(evaluator, tmp_path, of_clip):
    sure = {"pixels": 9, "margin": 0.9, "entropy": 0.1, "surface_margin": 0.4, "surface_entropy": 0.6}
    target = masks(9) if of_clip else masks(9).frame(0)
    given = sample(target) if of_clip else Sample(
        id="a", inputs={"image": Image(array=np.full((8, 8), 90, np.uint8))}, target=target
    )  # fmt: skip
    rows = {"a": evaluator.measure(given, target.telling({"structures": {"polyp": sure}}), tmp_path)}
    assert rows["a"][0]["surface_margin"] == 0.4
    evaluator.report(rows, tmp_path)
    assert "Lowest margin" in (tmp_path / "report.html").read_text()
    assert "surface_margin" in (tmp_path / "cases.csv").read_text()
