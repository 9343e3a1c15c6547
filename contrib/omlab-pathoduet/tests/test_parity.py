"""`parity.py` looks at every expectation of the file without a network; the published size is a slow case."""

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
PARTS = ("contrastive", "byol", "adaptive_norm", "position_pool", "sincos")


def test_the_file_without_a_network_is_answered() -> None:
    found = CHECK(LOSSES)
    assert found.keys() == {*PARTS, "schedule"}
    assert max(found.values()) < 1e-6, found


@pytest.mark.parametrize("part", PARTS)
def test_another_expectation_is_noticed(part: str) -> None:
    names = {"expected", "expected_tasks", "expected_moco_class"}
    assert check_notices(CHECK, {part: LOSSES[part]}, expected=names)


@pytest.mark.parametrize("name", ["lr_now", "momentum_now"])
def test_another_point_of_the_schedule_is_noticed(name: str) -> None:
    case = json.loads(json.dumps({"schedule": LOSSES["schedule"]}))
    case["schedule"][3][name] *= 1.01
    assert CHECK(case)["schedule"] > 0.009


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="dino"):
        CHECK(LOSSES | {"dino": {}})


@pytest.mark.slow
def test_the_published_network_gives_the_recorded_numbers() -> None:
    found = parity.check_case(parity.load_parity(TESTS), TESTS / "golden" / "large" / "vit_base_avg.json")
    assert {"features", "logits", "features_ref"} <= found.keys()
