"""Groups judged as one case: soft voting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from omlab.errors import InputError
from omlab.roles import Sample
from omlab_evaluators.classification.evaluator import load
from omlab_payloads.classes import Classes

NAMES = ("low", "high")
PATCHES = [("s1", 0, 0.9), ("s1", 0, 0.4), ("s1", 0, 0.45), ("s2", 1, 0.2), ("s2", 1, 0.6), ("s3", 1, 0.7)]


def rows_of(evaluator: Any, folder: Path, patches: list[tuple[str, int, float]]) -> dict[str, Any]:
    found = {}
    for number, (slide, label, low) in enumerate(patches):
        target = Classes(names=NAMES, probabilities=[float(label == 0), float(label == 1)])
        sample = Sample(id=f"p{number}", inputs={}, target=target, group=slide)
        found[sample.id] = evaluator.measure(sample, Classes(names=NAMES, probabilities=[low, 1 - low]), folder)
    return found


def test_slides_are_judged_by_the_mean_of_their_patches(tmp_path: Path) -> None:
    by_slide = load(None, settings={"bootstrap": 20, "seed": 0, "by_group": True})
    by_patch = load(None, settings={"bootstrap": 20, "seed": 0})
    rows = rows_of(by_slide, tmp_path, PATCHES)
    accuracy = {name: one.report(rows, tmp_path).metrics[0] for name, one in (("slide", by_slide), ("patch", by_patch))}
    assert [accuracy["patch"].value, accuracy["patch"].n] == [pytest.approx(2 / 6), 6]
    assert [accuracy["slide"].value, accuracy["slide"].n] == [pytest.approx(2 / 3), 3]
    assert by_slide.illustrated(rows) == []


def test_a_group_of_different_classes_is_refused(tmp_path: Path) -> None:
    evaluator = load(None, settings={"bootstrap": 20, "seed": 0, "by_group": True})
    with pytest.raises(InputError, match="'s1' are of different classes"):
        evaluator.report(rows_of(evaluator, tmp_path, [("s1", 0, 0.5), ("s1", 1, 0.5)]), tmp_path)
