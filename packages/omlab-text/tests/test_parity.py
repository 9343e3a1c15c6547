"""`parity.py` looks at every expectation of the golden file, and names what it does not know."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check
CASE = json.loads((TESTS / "golden" / "rlhf.json").read_text(encoding="utf-8"))
EXPECTED = {
    "ranking_pairs": {"pairs", "count"},
    "group_loss": {"per_prompt", "loss", "loss_margin"},
    "token_pair_loss": {"start", "end", "loss", "score_chosen", "score_rejected"},
    "ppo": {
        *("rewards", "advantages", "returns", "whitened", "ratio"),
        *("policy_loss", "clip_fraction", "value_loss", "k1", "k3"),
    },
    "group_advantage": {"grpo", "rloo"},
}


def test_the_file_is_answered() -> None:
    found = CHECK(CASE)
    assert found.keys() == CASE.keys()
    assert max(found.values()) < 1e-6


@pytest.mark.parametrize("part", sorted(EXPECTED))
def test_another_expectation_is_noticed(part: str) -> None:
    assert check_notices(CHECK, {part: CASE[part]}, expected=EXPECTED[part]) >= 2


def test_another_coefficient_is_noticed() -> None:
    for step in range(len(CASE["adaptive_kl"]["trace"])):
        case = copy.deepcopy({"adaptive_kl": CASE["adaptive_kl"]})
        case["adaptive_kl"]["trace"][step][1] += 1e-6
        assert CHECK(case)["adaptive_kl"] > 1e-6


def test_what_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="dpo"):
        CHECK(CASE | {"dpo": {}})
    with pytest.raises(KeyError, match="k2"):
        CHECK({"ppo": CASE["ppo"] | {"k2": 0.1}})
