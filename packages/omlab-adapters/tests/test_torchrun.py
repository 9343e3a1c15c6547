"""`torchrun -m omlab adapt`: several processes train as one, and rank 0 alone owns the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from omlab.api import load_model, predict

pytestmark = pytest.mark.slow


def torchrun(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Two processes of `omlab adapt` in `folder`, with the plugins that this test has."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "omlab", "adapt", *words]
    environment = {**os.environ, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_two_processes_train_as_one(pictures: Path) -> None:
    words = ("tinynet", "--data", "stripes", "--recipe", "classification", "-o", "mine")
    before = set(pictures.iterdir())
    done = torchrun(pictures, *words)
    assert (done.returncode, done.stdout) == (0, f"{pictures / 'mine'}\n"), done.stderr
    assert set(pictures.iterdir()) - before == {pictures / "mine"}
    assert json.loads((pictures / "mine" / "run.json").read_text())["request"]["processes"] == 2
    losses = [row["loss"] for row in json.loads((pictures / "mine" / "history.json").read_text())]
    assert losses[-1] < losses[0] / 2

    assert load_model("mine").card.name == "tinynet"
    assert predict("mine", data="stripes", output="out").exit_status == 0

    log = (pictures / "mine" / "cases.jsonl").read_text()
    again = torchrun(pictures, *words)
    assert again.returncode == 0, again.stderr
    assert (pictures / "mine" / "cases.jsonl").read_text() == log


def test_a_mistake_is_said_once_and_leaves_nothing(pictures: Path) -> None:
    before = set(pictures.iterdir())
    done = torchrun(pictures, "tinynet", "--data", "stripes", "--recipe", "classificatoin", "-o", "mine")
    assert done.returncode != 0
    assert done.stderr.count("has no recipe 'classificatoin'") == 1
    assert set(pictures.iterdir()) == before


def test_what_stops_a_training_is_one_sentence_in_each_process(pictures: Path) -> None:
    words = ("tinynet", "--data", "stripes", "--recipe", "classification", "-s", "rate=inf", "-o", "mine")
    done = torchrun(pictures, *words)
    assert done.returncode != 0
    assert "lower the learning rate" in done.stderr
    assert "Traceback" not in done.stderr.split("torch/distributed/elastic", maxsplit=1)[0]
