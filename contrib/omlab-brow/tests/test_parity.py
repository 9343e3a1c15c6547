"""`parity.py` looks at every expectation of the files without a network; networks of full size are slow cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit import parity
from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check
LOSSES: dict[str, Any] = json.loads((TESTS / "golden" / "losses.json").read_text())
LABELS: dict[str, Any] = json.loads((TESTS / "golden" / "labels.json").read_text())
EXPECTED = {
    "self_distillation": {"expected_loss", "expected_center"},
    "teacher_temps": {"teacher_temps"},
    "cosine_schedule": {"values"},
    "preprocess": {"mean", "shape", "at_0_0", "at_100_50"},
}


def test_the_files_without_a_network_are_answered() -> None:
    found = CHECK(LOSSES)
    assert found.keys() == EXPECTED.keys()
    assert max(found.values()) < 2e-6, found
    tables = CHECK(LABELS)
    assert tables.keys() == LABELS.keys() - {"about"}
    assert set(tables.values()) == {0.0}


@pytest.mark.parametrize("part", ["self_distillation", "cosine_schedule"])
def test_another_expectation_is_noticed(part: str) -> None:
    assert check_notices(CHECK, {part: LOSSES[part]}, expected=EXPECTED[part])


def test_another_temperature_pixel_or_class_is_noticed() -> None:
    case = json.loads(json.dumps({**LOSSES, **LABELS}))
    case["teacher_temps"][3] *= 1.01
    case["preprocess"]["at_100_50"][2] *= 1.01
    case["BRCA"]["classes"].reverse()
    found = CHECK(case)
    assert min(found["teacher_temps"], found["preprocess"]) > 1e-3
    assert found["BRCA"] == 1


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="shuffling"):
        CHECK(LOSSES | {"shuffling": {}})


def test_student_and_teacher_give_the_recorded_numbers() -> None:
    found = parity.check_case(parity.load_parity(TESTS), TESTS / "golden" / "self_distillation.json")
    assert {"losses", "center_after", "grad_qkv0", "grad_last_v", "teacher_qkv0_after"} <= found.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["large/vit_base", "vit_tiny"])
def test_the_published_networks_give_the_recorded_numbers(name: str) -> None:
    found = parity.check_case(parity.load_parity(TESTS), TESTS / "golden" / f"{name}.json")
    assert {"feature", "last_attention", "normed_last2_first"} <= found.keys()
