"""`parity.py` looks at every expectation of the file without a network, and names what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
PARITY = load_file(TESTS / "parity.py")
FILE: dict[str, Any] = json.loads((TESTS / "golden" / "volume_fusion.json").read_text())
EXPECTED = {
    "volume_fusion": {"label_shape", "label", "fused"},
    "volume_fusion_shuffle": {"label", "fused"},
    "volume_fusion_batch": {"label", "fused"},
    "crop_for_fusion": {"shape", "patch1", "patch2"},
    "loss": {"expected"},
    "normalise": {"expected"},
    "polynomial_lr": {"per_validation_period"},
    "sliding_window": {"shape", "mean", "std", "absmax", "value"},
}


def test_the_file_without_a_network_is_answered() -> None:
    found = PARITY.check(FILE)
    assert found.keys() == EXPECTED.keys()
    assert max(found.values()) < 5e-6


@pytest.mark.parametrize("part", EXPECTED)
def test_another_expectation_is_noticed(part: str) -> None:
    chosen = json.loads(json.dumps(FILE[part]))
    if part == "sliding_window":  # the shape of what is drawn is no expectation
        drawn = chosen.pop("draw")
        names = EXPECTED[part]

        def check(case: dict[str, Any]) -> dict[str, float]:
            found: dict[str, float] = PARITY.check({part: {**case[part], "draw": drawn}})
            return found

        assert check_notices(check, {part: chosen}, expected=names)
    elif part == "crop_for_fusion":
        for row in chosen["cases"]:
            one = {"draw": chosen["draw"], "cases": [row]}
            assert check_notices(PARITY.check, {part: one}, expected={"patch1", "patch2"})
    else:
        assert check_notices(PARITY.check, {part: chosen}, expected=EXPECTED[part])


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="elastic"):
        PARITY.check(FILE | {"elastic": {}})
    with pytest.raises(KeyError, match="focal"):
        PARITY.check({"loss": {**FILE["loss"], "expected": {"focal": 1.0}}})


def test_another_order_of_draws_is_noticed() -> None:
    row = json.loads(json.dumps(FILE["volume_fusion"]))
    draws = row["cases"][0]["draws"]
    draws[0], draws[3] = draws[3], draws[0]
    with pytest.raises(AssertionError, match="was recorded"):
        PARITY.check({"volume_fusion": row})
