"""The package has no cards yet, so the test kit's check of golden cases is called directly."""

from __future__ import annotations

from pathlib import Path

import pytest

from omlab_testkit import parity

TESTS = Path(__file__).resolve().parent
CASES = parity.find_cases([TESTS / "golden"])


def test_all_network_cases_are_found() -> None:
    assert len(CASES) == 6


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden_case_is_answered(path: Path) -> None:
    worst = parity.check_case(parity.load_parity(TESTS), path)
    assert max(worst.values()) < 1e-5
