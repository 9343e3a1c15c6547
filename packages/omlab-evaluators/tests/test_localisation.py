"""The evaluator `localisation`: figures that can be told by hand, whatever space boxes are in, and the page."""

import numpy as np
import pytest

from omlab.errors import InputError
from omlab.roles import Sample
from omlab_evaluators.localisation.boxes import gap_between, predicted_boxes, reference_boxes
from omlab_evaluators.localisation.evaluator import LocalisationEvaluator, Settings
from omlab_payloads.boxes import Box, Boxes
from omlab_report import encode_png


@pytest.fixture
def two_organs(stand_ins):
    return stand_ins.two_organs


@pytest.fixture
def evaluator():
    return LocalisationEvaluator(Settings(bootstrap=50))


class Drawn:
    """An input that marks boxes: as many white pixels as there are boxes."""

    kind = "volume"

    def with_boxes(self, boxes, *, target=None):
        return encode_png(np.full((1, len(boxes.boxes), 3), 255, dtype=np.uint8))


def _sample(target, *, id="a"):
    return Sample(id=id, inputs={"volume": Drawn()}, target=target)


def test_gaps_can_be_told_by_hand():
    first, second = np.array([[0.0, 0, 0], [4, 4, 4]]), np.array([[2.0, 0, 0], [6, 4, 4]])
    gap = gap_between(first, second, spacing=np.array([1.5, 1, 1]))
    assert gap.iou == pytest.approx(32 / 96)
    assert gap.wall_distance == pytest.approx(2 * 2 * 1.5 / 6)
    assert gap_between(first, first + 9, spacing=np.ones(3)).iou == 0


def test_boxes_in_mm_are_those_in_voxels(two_organs):
    target = two_organs(affine=np.array([[0, 0, 3.0, 5], [-2, 0, 0, 7], [0, -2, 0, 9], [0, 0, 0, 1]]))
    voxels = Boxes(space="voxel", boxes=[Box(near=(1, 2, 3), far=(4, 6, 8), label="liver")])
    corners = np.array([[1, 2, 3, 1], [4, 6, 8, 1]]) @ target.affine.T
    world = Boxes(space="world", boxes=[Box(near=corners.min(0)[:3], far=corners.max(0)[:3], label="liver")])
    np.testing.assert_allclose(predicted_boxes(world, target)["liver"], predicted_boxes(voxels, target)["liver"])
    with pytest.raises(InputError, match="those of a picture"):
        predicted_boxes(Boxes(space="pixel"), target)


def test_parts_of_a_structure_are_one_box(two_organs, evaluator, tmp_path):
    target = two_organs()
    low, high = reference_boxes(target)["liver"]
    middle = float((low[2] + high[2]) / 2)
    parts = [
        Box(near=tuple(low), far=(high[0], high[1], middle), label="liver"),
        Box(near=(low[0], low[1], middle), far=tuple(high), label="liver"),
    ]
    rows = evaluator.measure(_sample(target), Boxes(space="voxel", boxes=parts), tmp_path)
    assert [(row["label"], row["status"], row["iou"], row["wall_distance"]) for row in rows] == [
        ("liver", "found", 1.0, 0.0),
        ("spleen", "not found", 0.0, None),
    ]


def test_the_page_says_what_was_missed_and_invented(two_organs, evaluator, stand_ins, tmp_path):
    stray = Box(near=(0, 0, 0), far=(1, 1, 1), label="kidney")
    results = [Boxes(space="voxel", boxes=stand_ins.BOXES), Boxes(space="voxel", boxes=[stand_ins.BOXES[0], stray])]
    rows = {
        f"case-{n}": evaluator.measure(_sample(two_organs(), id=f"case-{n}"), result, tmp_path)
        for n, result in enumerate(results)
    }
    assert [row["status"] for row in rows["case-1"]] == ["found", "not found", "invented"]
    report = evaluator.report(rows, tmp_path)
    means = {(m.name, m.label): m.value for m in report.metrics}
    assert means["iou", "liver"] == pytest.approx(1)
    assert means["wall_distance", "kidney"] is None
    assert means["iou", "spleen"] == pytest.approx(rows["case-0"][1]["iou"] / 2)
    page = (tmp_path / "report.html").read_text()
    assert "1 not found" in page
    assert "1 invented" in page
    assert page.count("the boxes dashed, the reference outlined") == 2
    assert (tmp_path / "cases.csv").read_text().count("\n") == 6
