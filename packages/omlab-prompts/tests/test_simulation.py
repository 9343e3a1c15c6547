from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from omlab.errors import InputError, UsageError
from omlab.payloads import Compound, Payload
from omlab_prompts.click_table import ClickTable
from omlab_prompts.prompts import Prompts
from omlab_prompts.simulation import ClickScores, Simulation
from omlab_prompts.testing import example_click_scores, example_prompts, odd_click_scores

GOOD = {"object": "liver", "round": 1, "dice": 0.5}


def test_a_simulation_is_its_parts() -> None:
    prompts, scores = example_prompts()[0], example_click_scores()[0]
    found = Simulation(prediction=prompts, prompts=prompts, scores=scores)
    assert isinstance(found, Payload)
    assert isinstance(found, Compound)
    assert {name: part.kind for name, part in found.parts().items()} == {
        "prediction": "prompts",
        "prompts": "prompts",
        "clicks": "click-scores",
    }


@pytest.mark.parametrize("change", [{"dice": 1.5}, {"dice": "x"}, {"round": 1.0}, {"round": True}, {"object": 1}])
def test_other_rows_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="A row of simulated clicks has an object, a round and a Dice"):
        ClickScores(rows=[GOOD | change])
    with pytest.raises(UsageError):
        ClickScores(rows=[{name: value for name, value in GOOD.items() if name not in change}])


def test_a_dice_of_nan_is_not_finite() -> None:
    assert ClickScores(rows=[GOOD, GOOD | {"dice": None}]).is_finite()
    assert not ClickScores(rows=[GOOD | {"dice": math.nan}]).is_finite()


@pytest.mark.parametrize("scores", [*example_click_scores(), *odd_click_scores().values()])
def test_what_is_written_is_read(tmp_path: Path, scores: ClickScores) -> None:
    path = tmp_path / "ct.clicks.csv"
    ClickTable().write(scores, path, inputs={})
    assert ClickTable().read(path, kind="click-scores") == scores
    assert path.read_text().startswith("object,round,dice")
    assert "\n=" not in path.read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column 'object'"),
        (b"object,dice\n", "no column 'round'"),
        (b"object,round,dice\na,1\n", "line 2 has more or fewer cells"),
        (b"object,round,dice\na,1,0.5,7\n", "line 2 has more or fewer cells"),
        (b"object,round,dice\na,first,0.5\n", "cannot be used: A row of simulated clicks"),
        (b"object,round,dice\n\xff,1,0.5\n", "no table of comma-separated values"),
        (b'object,round,dice\n"a,1,0.5\n', "no table of comma-separated values"),
    ],
)
def test_a_table_that_is_wrong_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        ClickTable().read(path, kind="click-scores")
    assert str(path) in str(error.value)
    with pytest.raises(InputError, match="cannot be read"):
        ClickTable().read(tmp_path / "absent.csv", kind="click-scores")


def test_a_table_of_clicks_holds_nothing_else(tmp_path: Path) -> None:
    other: Prompts = example_prompts()[0]
    with pytest.raises(UsageError, match="not a prompts"):
        ClickTable().write(other, tmp_path / "t.csv", inputs={})
