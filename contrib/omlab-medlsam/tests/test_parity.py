"""`parity.py`: the file without a network, and expectations that are looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CASE: dict[str, Any] = json.loads((TESTS / "golden" / "algorithms.json").read_text())
CHECK = load_file(TESTS / "parity.py").check
EXPECTED = {
    "intensity": {"normalised"},
    "points_from_label": {"bounds", "extreme", "parts", "part_points"},
    "corners_from_extremes": {"corners"},
    "box_metrics": {"iou_ab", "wall_distance_ab"},
    "orientation": {"matrix", "zyx"},
    "training_loss": {"total", "distance_loss", "similarity_loss", "predicted_mm"},
}
"""`localisation` takes a minute: the kit answers it."""


@pytest.mark.parametrize("part", EXPECTED)
def test_another_expectation_is_noticed(part: str) -> None:
    case = {part: json.loads(json.dumps(CASE[part]))}
    if part == "points_from_label":
        case[part]["parts"], case[part]["part_points"] = ({"3": case[part][n]["3"]} for n in ("parts", "part_points"))
    assert CHECK(case)[part] < 1e-5
    assert check_notices(CHECK, case, expected=EXPECTED[part]) >= len(EXPECTED[part])


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="growing"):
        CHECK(CASE | {"growing": {}})
