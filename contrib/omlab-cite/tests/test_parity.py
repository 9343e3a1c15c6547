"""`parity.py` notices another expectation, and names what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check


def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TESTS / "golden" / "patchgastric.json").read_text())
    return found


def test_lists_and_figures_are_answered() -> None:
    assert max(CHECK(golden()).values()) < 1e-6


def test_another_figure_or_list_is_noticed() -> None:
    case = golden()
    assert check_notices(CHECK, {"metrics": case["metrics"]}, expected={"expect", "patch_balance_label_sequence"})
    row = case["splits"]["cases"][0]
    for names in (row["train_all"], row["val_list"], row["few"]["2"]):
        names[0], names[1] = names[1], names[0]
        assert CHECK(case)["splits"] == 1
        names[0], names[1] = names[1], names[0]


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="captions"):
        CHECK(golden() | {"captions": {}})
