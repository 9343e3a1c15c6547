"""`parity.py` looks at every expectation of the files without a network, and names what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check
FILES: dict[str, dict[str, Any]] = {
    name: json.loads((TESTS / "golden" / f"{name}.json").read_text()) for name in ("algorithms", "labels")
}
LOSS = {"dice", "ce", "level0", "per_level", "total", "grad_level0_norm", "grad_level0_first8"}
PREPARED = {"crop_bbox", "separate_z", "resampled_shape", "value", "mean", "std", "absmax", "label_counts"}
EXPECTED = {
    "gaussian_importance": {"min", "max", "sum", "axis0_centre_line", "value"},
    "sliding_window_starts": {"starts"},
    "deep_supervision_weights": {"deep_supervision_weights"},
    "poly_lr": {"value"},
    "loss": LOSS,
    "preprocess": PREPARED,
    "totalsegmentator_105": {"totalsegmentator_105"},
    "abdomen_atlas_mini_10": {"abdomen_atlas_mini_10"},
    "direct_inference": {"datasets", "organ_to_classes"},
}


@pytest.mark.parametrize("name", FILES)
def test_files_without_a_network_are_answered(name: str) -> None:
    found = CHECK(FILES[name])
    assert len(found) == len(FILES[name]) - {"algorithms": 3, "labels": 1}[name]
    assert max(found.values()) < 2e-6


@pytest.mark.parametrize("part", EXPECTED)
def test_another_expectation_is_noticed(part: str) -> None:
    case = FILES["algorithms" if part in FILES["algorithms"] else "labels"]
    chosen = case[part]
    if part == "gaussian_importance":
        chosen = {name: row for name, row in chosen.items() if name != "128x128x128"}
    elif part == "preprocess":
        chosen = chosen[::3]
    assert check_notices(CHECK, {part: chosen}, expected=EXPECTED[part])


def test_another_label_of_a_shrunk_map_is_noticed() -> None:
    case = {"target_downsampling": json.loads(json.dumps(FILES["algorithms"]["target_downsampling"]))}
    for level in case["target_downsampling"]["expected"]:
        row = level[0][0][0][0]
        row[0] += 1
        assert CHECK(case)["target_downsampling"] > 0
        row[0] -= 1
    assert CHECK(case)["target_downsampling"] == 0


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="elastic"):
        CHECK(FILES["algorithms"] | {"elastic": {}})
    rows = [FILES["algorithms"]["preprocess"][0] | {"histogram": [1]}]
    with pytest.raises(KeyError, match="histogram"):
        CHECK({"preprocess": rows})
