"""Slide networks and losses give the numbers measured on the published code; others those of its formulae."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit import golden
from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
PARITY = load_file(TESTS / "parity.py")


def case_of(name: str) -> dict[str, Any]:
    case: dict[str, Any] = json.loads((TESTS / "golden" / f"{name}.json").read_text())
    return case


@pytest.mark.parametrize("name", ["clam_sb", "clam_mb", "mil_fc", "abmil_padded"])
def test_networks_are_the_published_ones(name: str) -> None:
    case = case_of(name)
    module = PARITY.build(case)
    golden.check_keys(case, module)
    module.load_state_dict(golden.draw_state(case))
    found = PARITY.run(module, case, golden.draw_inputs(case))
    assert max(golden.compare(case, found).values()) < 1e-4


def test_the_smooth_loss_is_the_published_one() -> None:
    case = case_of("svm_loss")
    assert PARITY.check(case)["cases"] < 2e-5
    assert check_notices(PARITY.check, {"cases": case["cases"][:2]}, expected={"expected", "grad_row0"})
