from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import UsageError
from omlab_prompts.prompts import Point
from omlab_sammed3d.clicks import random_click, ritm_click
from omlab_testkit import golden

RECORDED = json.loads((Path(__file__).parent / "golden" / "algorithms.json").read_text())


def recorded_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Logits of the round before, and the reference."""
    spec = RECORDED["click_training"]
    drawn = {
        name: golden.uniform(int(np.prod(row["shape"])), salt=row["salt"], name=row["name"]).reshape(row["shape"])
        for name, row in (("prev", spec["prev"]), ("gt", spec["gt"]))
    }
    low, high = spec["prev"]["low"], spec["prev"]["high"]
    return (low + drawn["prev"] * (high - low))[0, 0], (drawn["gt"] < 0.4)[0, 0]


def as_recorded(case: dict[str, Any]) -> Point:
    return Point(at=tuple(case["point"]), label=case["label"])


@pytest.mark.parametrize(("name", "threshold"), [("click_training", 0.5), ("click_inference", 0.0)])
def test_random_clicks_are_the_recorded_ones(name: str, threshold: float) -> None:
    logits, reference = recorded_arrays()
    for case in RECORDED[name]["cases"]:
        found = random_click(logits > threshold, reference, draw=lambda count, case=case: case["draw"])
        assert found == as_recorded(case)


def test_the_recorded_number_of_errors_is_drawn_from() -> None:
    logits, reference = recorded_arrays()
    counts = []
    random_click(logits > 0.5, reference, draw=lambda count: counts.append(count) or 0)
    assert counts == [RECORDED["click_training"]["error_voxels"]]


def test_a_perfect_mask_is_clicked_inside() -> None:
    _, reference = recorded_arrays()
    case = RECORDED["click_inference"]["prediction_equals_truth"]
    for rule in (random_click, ritm_click):
        assert rule(reference, reference, draw=lambda count: case["draw"]) == as_recorded(case)


def test_the_ritm_click_is_the_recorded_one() -> None:
    case = RECORDED["click_ritm"]
    reference, mask = np.zeros((2, *case["shape"]), bool)
    reference[tuple(slice(*span) for span in case["gt_box"])] = True
    for box in case["pred_boxes"]:
        mask[tuple(slice(*span) for span in box)] = True
    counts: list[int] = []
    found = ritm_click(mask, reference, draw=lambda count: counts.append(count) or 0)
    assert counts == [case["candidates"]]
    assert found == Point(at=tuple(case["first"]), label=case["label"])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), share=st.floats(0.1, 0.9))
def test_a_click_is_on_an_error_and_says_which(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    mask, reference = generator.random((2, 5, 6, 4)) < share
    for rule in (random_click, ritm_click):
        click = rule(mask, reference, draw=generator.integers)
        place = tuple(int(n) for n in click.at)
        assert mask[place] != reference[place]
        assert click.label == reference[place]


def test_false_wins_where_both_errors_are_as_deep() -> None:
    mask, reference = np.zeros((2, 9, 3, 3), bool)
    mask[1:3], reference[6:8] = True, True
    assert ritm_click(mask, reference, draw=lambda count: 0).label == 0


def test_nothing_to_click_on_is_one_sentence() -> None:
    empty = np.zeros((3, 3, 3), bool)
    for rule in (random_click, ritm_click):
        with pytest.raises(UsageError, match="nothing to click on"):
            rule(empty, empty, draw=lambda count: 0)
        with pytest.raises(UsageError, match="of one shape"):
            rule(empty, empty[:2], draw=lambda count: 0)
