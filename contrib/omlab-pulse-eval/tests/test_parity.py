"""`parity.py` looks at every expectation of the golden files, and names what it does not know."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from omlab_testkit.expected import check_notices
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
GOLDEN = TESTS / "golden"
PARITY = load_file(TESTS / "parity.py")
CHECK = PARITY.check
FILES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(GOLDEN.glob("*.json"))
}
EXPECTED = {
    "ratings-WebMedQA": {
        *("count", "outcomes", "online", "median", "first_round", "average_win_rate_without_ties", "bradley_terry"),
        *("low_2_5", "high_97_5"),
    },
    "average-rank": {"average"},
    "judge-scores": {"scores", "winner"},
    "schedule": {"count", "sha256", "first", "last", "first_model_count"},
    "synthetic": {"ratings"},
    "triage-expected": {"models"},
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_answered(name: str) -> None:
    found = CHECK(FILES[name])
    assert found
    for part, far in found.items():
        assert far < PARITY.tolerance(part, FILES[name]), part


@pytest.mark.parametrize("name", EXPECTED)
def test_another_expectation_is_noticed(name: str) -> None:
    assert check_notices(CHECK, FILES[name], expected=EXPECTED[name])


def test_other_published_ratings_are_noticed() -> None:
    case = FILES["ratings-WebMedQA"]
    for model, rating in case["published"].items():
        other = case | {"published": case["published"] | {model: rating + 5}}
        assert CHECK(other)["published"] > 1.5 * CHECK(case)["published"]


def test_another_code_of_a_department_is_noticed() -> None:
    table = FILES["departments"]
    first, second = list(table)[:2]
    swapped = table | {first: table[second], second: table[first]}
    assert sum(CHECK(swapped).values()) == 2


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ratings-CheckupQA", {"glicko": {}}),
        ("average-rank", {"borda": {}}),
        ("judge-scores", {"cases": [{"review": "8 9", "confidence": 1}]}),
        ("synthetic", {"cases": [{"battles": [["x", "y", "tie"]], "glicko": {}}]}),
    ],
)
def test_a_part_that_is_not_known_is_named(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match=r"glicko|borda|confidence"):
        CHECK(FILES[name] | change)


def test_battles_may_stand_in_the_file_or_at_a_path(tmp_path: Path) -> None:
    case = FILES["ratings-CheckupQA"]
    wanted = CHECK(case)
    log = GOLDEN / case["battles"]
    (tmp_path / "other.csv").write_bytes(log.read_bytes())
    assert CHECK(case | {"battles": str(tmp_path / "other.csv")}) == wanted
    with log.open(encoding="utf-8", newline="") as stream:
        rows = [[row["model_a"], row["model_b"], row["winner"]] for row in csv.DictReader(stream)]
    assert CHECK(case | {"battles": rows}) == wanted
    assert CHECK(case | {"battles": rows[::-1]})["online"] > 0.01
