"""`parity.py` looks at every expectation of the golden file, and names what it does not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
CHECK = load_file(TESTS / "parity.py").check
CASE = json.loads((TESTS / "golden" / "metrics.json").read_text(encoding="utf-8"))
EXPECTED = {"letters", "first", "items", "precision", "recall", "f1", "tokens", "rouge_l", "correct", "label"}


def test_the_file_is_answered() -> None:
    found = CHECK(CASE)
    assert found.keys() == CASE.keys() - {"reference"}
    assert max(found.values()) < 1e-12


@pytest.mark.parametrize("part", sorted(CASE.keys() - {"reference"}))
def test_another_expectation_is_noticed(part: str) -> None:
    names = EXPECTED - ({"rouge_l"} if part == "rouge_l" else set())  # the part has the name of its figure
    assert check_notices(CHECK, {part: CASE[part]}, expected=names) >= 2


def test_another_rouge_l_is_noticed() -> None:
    for number, row in enumerate(CASE["rouge_l"]):
        rows = [*CASE["rouge_l"]]
        rows[number] = row | {"rouge_l": row["rouge_l"] + 0.001}
        assert CHECK({"rouge_l": rows})["rouge_l"] > 1e-4


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="bleu"):
        CHECK(CASE | {"bleu": []})
    with pytest.raises(KeyError, match="confidence"):
        CHECK({"cloze": [CASE["cloze"][0] | {"confidence": 1}]})
