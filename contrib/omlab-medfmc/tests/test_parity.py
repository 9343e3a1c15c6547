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


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TESTS / "golden" / f"{name}.json").read_text())
    return found


def test_files_without_a_network_are_answered() -> None:
    assert max(CHECK(golden("metrics")).values()) < 1e-6
    assert CHECK(golden("support_sets")) == {"cases": 0}


def test_another_figure_is_noticed() -> None:
    case = golden("metrics")
    for row in case["metrics"]:
        assert check_notices(CHECK, {"metrics": [row]}, expected={"expect"})
    assert check_notices(CHECK, {"losses": case["losses"]}, expected={"bce", "bce_with_difficult", "ce"})


def test_another_support_set_is_noticed() -> None:
    case = golden("support_sets")
    for row in case["cases"]:
        names = row["support"][-1]
        names.append("one more")
        assert CHECK({"lists": case["lists"], "cases": [row]})["cases"] > 0
        names.pop()


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="ranking"):
        CHECK(golden("metrics") | {"ranking": {}})
    row = golden("metrics")["metrics"][0]
    with pytest.raises(KeyError, match="kappa"):
        CHECK({"metrics": [row | {"expect": {"kappa": 1.0}}]})
