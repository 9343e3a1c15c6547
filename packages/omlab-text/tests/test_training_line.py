"""The example of the whole line, by its commands."""

from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("trl")
pytest.importorskip("omlab_adapters")
EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def line(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return import_module("training_line")


def test_every_command_runs(line, tmp_path):
    found = line.train(tmp_path, line.SMALL)
    assert found["sft: loss at last"] > 0
    pytest.importorskip("matplotlib")
    line.draw(tmp_path, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.slow
def test_what_the_page_says_of_it_holds(line, tmp_path):
    found = line.train(tmp_path, line.WHOLE)
    assert found["sft: loss at last"] < 0.5 < found["sft: loss at first"]
    assert found["reward: pair accuracy"] > 0.9
    assert found["ppo: reward at last"] > found["ppo: reward at first"] + 2
    assert max(row["kl"] for row in line.history(tmp_path / "ppo")) < line.KL_TARGET
    assert found["dpo: pairs right"] > found["sft: pairs right"] + 0.1
