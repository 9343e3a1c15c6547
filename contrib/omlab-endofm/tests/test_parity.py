"""`parity.py` answers every part of the file without a network; networks of full size are slow cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit import parity
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check
ALGORITHMS: dict[str, Any] = json.loads((TESTS / "golden" / "algorithms.json").read_text())


def test_the_file_without_a_network_is_answered() -> None:
    found = CHECK(ALGORITHMS)
    assert found.keys() == ALGORITHMS.keys() - {"reference"}
    assert max(found.values()) < 1e-5, found


def test_another_expectation_is_noticed() -> None:
    case = json.loads(json.dumps(ALGORITHMS))
    case["dino_loss"]["cases"][1]["loss"] *= 1.01
    case["view_sampling"]["globals"][0]["global_2"][3] += 1
    case["photometric"]["saturation"]["mean"] *= 1.01
    case["seg_loss"]["dice"] *= 1.01
    found = CHECK(case)
    assert min(found[name] for name in ("dino_loss", "view_sampling", "photometric", "seg_loss")) > 1e-3


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="nothing"):
        CHECK(ALGORITHMS | {"nothing": {}})


def test_the_head_gives_the_recorded_numbers() -> None:
    found = parity.check_case(parity.load_parity(TESTS), TESTS / "golden" / "dino_head.json")
    assert found.keys() == {"bottleneck", "output"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vitb_t4_96", "vitb_t8_224", "seg_transunet_t2", "det_stft_t3"])
def test_the_published_networks_give_the_recorded_numbers(name: str) -> None:
    assert parity.check_case(parity.load_parity(TESTS), TESTS / "golden" / "large" / f"{name}.json")
