"""`parity.py` looks at every expectation of the file of scores, and names what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check
SCORES: dict[str, Any] = json.loads((TESTS / "golden" / "scores.json").read_text())
EXPECTED = {
    "tokens": {"tokens"},
    "full_scan_checksum": {"mean", "count", "std", "first", "last"},
    "window": {"kept", "window_length", "window_start", "offset"},
    "spearman": {"value"},
}


@pytest.mark.parametrize("part", EXPECTED)
def test_another_expectation_is_noticed(part: str) -> None:
    assert check_notices(CHECK, {"sequence": SCORES["sequence"], part: SCORES[part]}, expected=EXPECTED[part])


def test_another_score_is_noticed() -> None:
    case = {"sequence": SCORES["sequence"], "wt_marginals": SCORES["wt_marginals"] | {"K6R": 2.6}}
    assert CHECK(case)["wt_marginals"] > 0.01


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="epistasis"):
        CHECK(SCORES | {"epistasis": {}})
