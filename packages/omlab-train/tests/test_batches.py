"""Worker processes give the batches that a thread gives, and their troubles come as one sentence."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import omlab_train_toys as toys
import pytest
import torch
from omlab_train_toys import STEPS, Regression, Sums, SumsDrawnGlobally
from torch import Tensor

from omlab.errors import TrainingError
from omlab_train import Optimisation, fit
from omlab_train.batches import batches_ahead, workers_for


def taken(make: Any, numbers: range, *, workers: int) -> list[Any]:
    with batches_ahead(make, numbers, workers=workers, pinned=False) as batches:
        return list(batches)


def no_children() -> bool:
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not multiprocessing.active_children()


def test_workers_give_the_same_batches_in_order() -> None:
    numbers = range(1, 12, 3)
    threaded, spawned = (taken(Sums(), numbers, workers=workers) for workers in (0, 2))
    assert len(spawned) == len(numbers)
    for number, one, other in zip(numbers, threaded, spawned, strict=True):
        expected = Sums()(number)
        for batch in (one, other):
            assert torch.equal(batch["x"], expected["x"])
            assert torch.equal(batch["extra"][0], expected["extra"][0])
            assert batch["extra"][1] == "a word"
    assert no_children()


def test_nothing_is_started_for_no_batches() -> None:
    assert taken(Sums(), range(5, 5), workers=2) == []


def test_batches_that_draw_globally_are_never_made_beside_a_step(tmp_path: Path) -> None:
    expected = fit(Regression(), folder=tmp_path / "own", device="cpu", seed=7)
    recipe = Regression(batches=SumsDrawnGlobally())
    history = fit(recipe, folder=tmp_path / "global", device="cpu", seed=7)
    assert recipe.batches.threads == {"MainThread"}
    assert [row["loss"] for row in history] == [row["loss"] for row in expected]  # dropout drew the same numbers


def test_batches_that_draw_globally_come_from_workers_as_they_are() -> None:
    for number, batch in enumerate(taken(SumsDrawnGlobally(), range(4), workers=2)):
        assert torch.equal(batch["x"], Sums()(number)["x"])


class Interrupted(Regression):
    calls = 0

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        self.calls += 1
        if self.calls == (STEPS + 2) * self.how.accumulate:
            raise KeyboardInterrupt
        return super().loss(batch)


@pytest.mark.slow
def test_training_with_workers_interrupted_and_resumed_is_the_same_training(tmp_path: Path) -> None:
    how = Optimisation(max_grad_norm=5.0, accumulate=2, ema=0.9)
    whole = Regression(how)
    expected = fit(whole, folder=tmp_path / "whole", device="cpu", seed=7)
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupted(how), folder=tmp_path / "cut", device="cpu", seed=7, workers=1)
    assert no_children()
    resumed = Regression(how)
    rows = fit(resumed, folder=tmp_path / "cut", device="cpu", seed=7, workers=1)
    assert [row["loss"] for row in rows] == [row["loss"] for row in expected]
    pairs = zip(resumed.module.state_dict().values(), whole.module.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.slow
def test_an_error_in_a_worker_is_the_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        fit(Regression(batches=Sums(fail_at=6)), folder=tmp_path, device="cpu", seed=0, workers=1)
    assert str(caught.value) == "The case is broken."
    assert "omlab_train_toys.py" in caught.value.__notes__[0]
    assert no_children()


def test_an_unforeseen_error_in_a_worker_is_named() -> None:
    with pytest.raises(TrainingError) as caught:
        taken(len, range(1), workers=1)
    assert str(caught.value) == "Batch 0 cannot be made (TypeError: object of type 'int' has no len())."
    assert "Traceback" in caught.value.__notes__[0]


def test_what_cannot_be_sent_is_named() -> None:
    with pytest.raises(TrainingError, match=r"^The batches cannot be sent to worker processes \(.*lambda"):
        taken(lambda number: number, range(3), workers=1)
    assert no_children()


# torch tells of it by a signal, wherever the main thread is: in a finaliser too, where nothing can be raised
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_that_ends_is_one_sentence() -> None:
    with pytest.raises(TrainingError, match=r"^A worker process that makes batches has ended before its time"):
        taken(Sums(end_at=3), range(8), workers=1)
    assert no_children()


def test_a_worker_that_is_killed_is_one_sentence() -> None:
    def train() -> None:
        with batches_ahead(Sums(), range(100), workers=1, pinned=False) as batches:
            next(batches)
            (worker,) = multiprocessing.active_children()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            for _ in range(1000):  # torch tells from wherever the main thread is
                time.sleep(0.01)

    with pytest.raises(TrainingError, match=r"^A worker process .* was killed"):
        train()
    assert no_children()


@pytest.mark.slow
def test_a_script_trains_with_workers(tmp_path: Path) -> None:
    command = [sys.executable, toys.__file__, "workers", str(tmp_path / "script"), "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    rows = fit(Regression(), folder=tmp_path / "here", device="cpu", seed=7)
    assert [row["loss"] for row in json.loads(done.stdout)] == [row["loss"] for row in rows]


def test_how_many_workers_is_chosen_by_device_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert workers_for("cpu") == 0
    assert workers_for("cuda:1") == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert workers_for("cuda") == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert workers_for("cuda") == 0
