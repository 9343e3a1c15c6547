"""The golden numbers of heat maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
FILE = TESTS / "golden" / "heatmap_and_filters.json"
PARITY = load_file(TESTS / "parity_heat.py")


def check(case: dict[str, Any]) -> dict[str, float]:
    return {name: answer(case[name], case) for name, answer in PARITY.answers(case).items()}


@pytest.fixture
def case() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return {name: found[name] for name in ("percentiles", "heatmap")}


def test_the_numbers_are_those_of_the_reference(case: dict[str, Any]) -> None:
    for part, found in check(case).items():
        assert found < 1e-8, part


def test_another_expectation_is_noticed(case: dict[str, Any]) -> None:
    assert check_notices(check, case, expected=PARITY.EXPECTED) > 8
