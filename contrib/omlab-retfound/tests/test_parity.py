"""`parity.py` looks at every expectation of the file without a network; the full-size classifier is a slow case."""

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
ALGORITHMS: dict[str, Any] = json.loads((TESTS / "golden" / "algorithms.json").read_text())
EXPECTED = {
    "sincos": {"shape", "sum", "abs_sum", "value"},
    "pos_interpolation": {"new_shape", "value", "mean", "std"},
    "cosine_schedule": {"rows"},
    "layer_decay": {"lr_scale", "weight_decay", "params"},
    "lr_scaling": {"lr"},
    "metrics": {"expected"},
}


def test_the_file_without_a_network_is_answered() -> None:
    found = CHECK(ALGORITHMS)
    assert found.keys() == EXPECTED.keys()
    assert max(found.values()) < 1e-6, found


@pytest.mark.parametrize("part", [part for part in EXPECTED if part not in ("cosine_schedule", "layer_decay")])
def test_another_expectation_is_noticed(part: str) -> None:
    assert check_notices(CHECK, {part: ALGORITHMS[part]}, expected=EXPECTED[part])


def test_another_rate_or_group_is_noticed() -> None:
    case = json.loads(json.dumps({part: ALGORITHMS[part] for part in ("cosine_schedule", "layer_decay")}))
    case["cosine_schedule"][0]["rows"][3][2][1] *= 1.01
    assert CHECK(case)["cosine_schedule"] > 0.009
    case["layer_decay"][0]["groups"][2]["params"].pop()
    assert CHECK(case)["layer_decay"] == 1


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="dino"):
        CHECK(ALGORITHMS | {"dino": {}})
    rows = [ALGORITHMS["lr_scaling"][0], *ALGORITHMS["lr_scaling"]]
    assert CHECK({"lr_scaling": rows})["lr_scaling"] < 1e-12


@pytest.mark.slow
def test_the_full_network_gives_the_recorded_numbers() -> None:
    found = parity.check_case(parity.load_parity(TESTS), TESTS / "golden" / "large" / "vit_l16_full.json")
    assert {"features", "logits", "logits_single_norm"} <= found.keys()
