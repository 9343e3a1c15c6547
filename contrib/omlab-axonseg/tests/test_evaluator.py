"""The evaluator `axons`: figures that can be told by hand, empty masks, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omlab.errors import GeometryError, InputError, SettingsError
from omlab.roles import Sample
from omlab_axonseg.evaluator import AxonEvaluator, Settings
from omlab_volume.volume import LabelMap, Volume

SHAPE = (12, 9, 8)


def axon(*, begin: int = 1, end: int = 11, row: int = 4) -> LabelMap:
    """A straight axon one voxel thick."""
    array = np.zeros(SHAPE, np.uint8)
    array[begin:end, row, 4] = 1
    return LabelMap(array=array, affine=np.diag([2.0, 2.0, 3.0, 1.0]))


def sample(target: LabelMap, *, id: str = "a", ignored: tuple[int, ...] = ()) -> Sample:
    """A case with something to draw on."""
    image = Volume(array=np.zeros((1, *SHAPE), np.float32), affine=target.affine)
    return Sample(id=id, inputs={"volume": image}, target=target, group=id, ignored=ignored)


def measured(
    target: LabelMap, result: LabelMap, folder: Path, *, ignored: tuple[int, ...] = ()
) -> list[dict[str, Any]]:
    evaluator = AxonEvaluator(Settings(pooling=(1, 3), bootstrap=50))
    return evaluator.measure(sample(target, ignored=ignored), result, folder)


def test_half_an_axon_has_half_the_recall(tmp_path: Path) -> None:
    row = measured(axon(), axon(end=6), tmp_path)[0]
    assert row["centreline_recall"] == pytest.approx(0.5)
    assert row["centreline_precision"] == pytest.approx(1)
    assert row["cldice"] == pytest.approx(2 / 3)
    assert row["dice"] == pytest.approx(11 / 16)
    assert row["iou"] == pytest.approx(0.5)


def test_pooling_and_tolerance_forgive_a_shift_of_a_voxel(tmp_path: Path) -> None:
    plain, pooled = measured(axon(), axon(row=5), tmp_path)
    assert plain["cldice"] == pytest.approx(0, abs=1e-6)
    assert plain["tolerant_iou"] > plain["iou"] == 0
    assert pooled["pooling"] == 3
    assert pooled["dice"] > 0.6


def test_empty_masks_count_as_the_table_says(tmp_path: Path) -> None:
    nothing = axon(end=1)
    lost = measured(axon(), nothing, tmp_path)[0]
    assert (lost["status"], lost["cldice"], lost["centreline_precision"]) == ("not found", 0.0, None)
    false = measured(nothing, axon(), tmp_path)[0]
    assert (false["status"], false["dice"]) == ("no axon", None)
    assert false["false_share"] == pytest.approx(10 / np.prod(SHAPE))


def test_what_is_not_annotated_does_not_count(tmp_path: Path) -> None:
    target = axon(end=6)
    target.array[6:] = 2
    assert measured(target, axon(), tmp_path, ignored=(2,))[0]["iou"] == 1


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    moved = LabelMap(array=axon().array, affine=np.eye(4))
    with pytest.raises(GeometryError, match="lie apart"):
        measured(axon(), moved, tmp_path)
    with pytest.raises(InputError, match="a side of 8 voxels"):
        AxonEvaluator(Settings(pooling=(1, 9))).measure(sample(axon()), axon(), tmp_path)
    with pytest.raises(SettingsError, match="pooling"):
        Settings(pooling=(1, 1))


def test_the_page_shows_means_and_says_what_was_lost(tmp_path: Path) -> None:
    evaluator = AxonEvaluator(Settings(pooling=(1, 3), bootstrap=50))
    results = {"half": axon(end=6), "whole": axon(), "lost": axon(end=1)}
    rows = {case: evaluator.measure(sample(axon(), id=case), result, tmp_path) for case, result in results.items()}
    report = evaluator.report(rows, tmp_path)
    figures = {(metric.name, metric.label): metric for metric in report.metrics}
    recall = figures["centreline_recall", None]
    assert recall.value == pytest.approx(0.5)
    assert recall.low is not None
    assert recall.high is not None
    assert recall.low < 0.5 < recall.high
    assert figures["centreline_precision", None].n == 2
    assert ("dice", "pooled by 3") in figures
    assert len(list((tmp_path / "overlays").iterdir())) == 3
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Centre-line recall" in page
    assert page.index("lost") < page.index("whole")
    assert (tmp_path / "cases.csv").read_text(encoding="utf-8").count("\n") == 7
