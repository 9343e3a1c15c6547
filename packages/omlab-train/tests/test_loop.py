"""The loop: it learns, resumes bit for bit after kill -9 and Ctrl-C, and stops with one sentence."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omlab import progress
from omlab.errors import OutputError, TrainingError
from omlab_train import fit
from omlab_train.checkpoint import NAME, CheckpointWarning
from omlab_train.schedule import poly_learning_rate

STEPS, EPOCHS = 4, 3


class Regression:
    """Learns y = sum(x), with dropout, so that the random state of torch matters too."""

    steps_per_epoch, epochs = STEPS, EPOCHS

    def __init__(self, *, adam: bool = False, initial: float = 0.02, data: str = "a") -> None:
        generator = torch.Generator().manual_seed(3)
        self.module: nn.Module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 1))
        for parameter in self.module.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
        self.adam, self.initial, self.fingerprint = adam, initial, data
        self.max_grad_norm: float | None = 5.0
        self.threads: set[str] = set()
        self.drawn: list[int] = []

    def batch(self, step: int) -> Any:
        self.threads.add(threading.current_thread().name)
        self.drawn.append(step)
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1000 + step))
        return {"x": x, "extra": [x.sum(1, keepdim=True), "a word"]}

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        error = (self.module(batch["x"]) - batch["extra"][0]).square().mean()
        return error, {"rmse": math.sqrt(error.item())}

    def optimizer(self) -> torch.optim.Optimizer:
        if self.adam:
            return torch.optim.AdamW(self.module.parameters(), lr=self.initial)
        return torch.optim.SGD(self.module.parameters(), lr=self.initial, momentum=0.9, nesterov=True)

    def learning_rate(self, step: int) -> float:
        return poly_learning_rate(step // STEPS, epochs=EPOCHS, initial=self.initial)


class Stuck(Regression):
    """Touches a file and hangs when it is asked for the batch of a step in the last epoch."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker = marker

    def batch(self, step: int) -> Any:
        if step == 2 * STEPS + 3:
            self.marker.touch()
            time.sleep(60)
        return super().batch(step)


class Interrupted(Regression):
    """Is interrupted by the user in the middle of the second epoch."""

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == STEPS + 2:
            raise KeyboardInterrupt
        return super().loss(batch)


def assert_same_training(
    task: Regression, rows: list[dict[str, float]], other: Regression, other_rows: list[dict[str, float]]
) -> None:
    for (name, value), reference in zip(
        task.module.state_dict().items(), other.module.state_dict().values(), strict=True
    ):
        assert torch.equal(value, reference), name
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in r] for r in (rows, other_rows)]
    assert timeless[0] == timeless[1]


def test_learns_and_reports(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    opened: list[tuple[str, int | None]] = []

    @contextmanager
    def sink(description: str, total: int | None) -> Iterator[progress.Advance]:
        opened.append((description, total))
        yield lambda steps=1, /, **figures: seen.append(figures)

    task = Regression()
    before = torch.get_rng_state()
    with progress.shown_by(sink):
        rows = fit(task, folder=tmp_path / "new" / "folder", device="cpu", seed=0)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert [row["learning_rate"] for row in rows] == [task.learning_rate(e * STEPS) for e in range(EPOCHS)]
    assert opened == [("training", STEPS * EPOCHS)]
    assert len(seen) == STEPS * EPOCHS
    mean = sum(row["loss"] for row in seen[:STEPS]) / STEPS
    assert rows[0]["loss"] == pytest.approx(mean, rel=1e-12)
    assert rows[0]["rmse"] == pytest.approx(sum(row["rmse"] for row in seen[:STEPS]) / STEPS, rel=1e-12)
    assert not task.module.training
    assert type(task.module) is nn.Sequential
    assert threading.current_thread().name not in task.threads
    assert torch.equal(before, torch.get_rng_state())
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [NAME]


@pytest.mark.parametrize("adam", [False, True])
def test_resumes_bit_for_bit_after_ctrl_c(tmp_path: Path, adam: bool) -> None:
    whole = Regression(adam=adam)
    expected = fit(whole, folder=tmp_path / "whole", device="cpu", seed=7)
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupted(adam=adam), folder=tmp_path / "cut", device="cpu", seed=7)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == [NAME]
    resumed = Interrupted(adam=adam)
    resumed.calls = STEPS + 2
    rows = fit(resumed, folder=tmp_path / "cut", device="cpu", seed=7)
    assert resumed.calls == STEPS + 2 + 2 * STEPS, "the first epoch must not be trained again"
    assert_same_training(resumed, rows, whole, expected)


def test_resumes_bit_for_bit_after_kill(tmp_path: Path) -> None:
    whole = Regression()
    expected = fit(whole, folder=tmp_path / "whole", device="cpu", seed=7)
    marker, folder = tmp_path / "marker", tmp_path / "killed"
    child = subprocess.Popen([sys.executable, __file__, str(folder), str(marker)])
    try:
        deadline = time.monotonic() + 60
        while not marker.exists():
            assert child.poll() is None, "the child ended before it was killed"
            assert time.monotonic() < deadline, "the child did not get to its last epoch"
            time.sleep(0.02)
    finally:
        child.kill()
        assert child.wait() == -signal.SIGKILL
    (folder / f".{NAME}.123-abcd.tmp").write_bytes(b"half a checkpoint")
    resumed = Regression()
    rows = fit(resumed, folder=folder, device="cpu", seed=7)
    assert resumed.threads, "the last epoch was cut short, so it must be trained again"
    assert_same_training(resumed, rows, whole, expected)
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_a_complete_training_is_only_read(tmp_path: Path) -> None:
    first = Regression()
    rows = fit(first, folder=tmp_path, device="cpu", seed=0)
    again = Regression()
    assert fit(again, folder=tmp_path, device="cpu", seed=0) == rows
    assert not again.threads
    assert_same_training(again, rows, first, rows)


@pytest.mark.parametrize("change", ["seed", "rate", "data", "weights"])
def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path, change: str) -> None:
    fit(Regression(), folder=tmp_path, device="cpu", seed=0)
    other = Regression(initial=0.01 if change == "rate" else 0.02, data="b" if change == "data" else "a")
    if change == "weights":
        next(iter(other.module.parameters())).data[0, 0] += 1
    with pytest.warns(CheckpointWarning, match="other settings, data or initial weights"):
        fit(other, folder=tmp_path, device="cpu", seed=int(change == "seed"))
    assert other.threads


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    first = Regression()
    rows = fit(first, folder=tmp_path, device="cpu", seed=0)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[: len(whole) // 2])
    again = Regression()
    with pytest.warns(CheckpointWarning, match="cannot be read"):
        again_rows = fit(again, folder=tmp_path, device="cpu", seed=0)
    assert_same_training(again, again_rows, first, rows)


class NotFinite(Regression):
    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        loss, _ = super().loss(batch)
        self.calls = getattr(self, "calls", 0) + 1
        return (loss * math.nan if self.calls == STEPS + 2 else loss), {}


class EndlessGradient(Regression):
    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        return (self.module(batch["x"]) * 0).abs().sqrt().sum(), {}  # the slope of sqrt at 0 is infinite


@pytest.mark.parametrize("limit", [None, 5.0])
def test_a_loss_or_gradient_that_is_not_finite_stops(tmp_path: Path, limit: float | None) -> None:
    with pytest.raises(TrainingError, match=r"The loss is nan at step 6 of 12: lower the learning rate"):
        fit(NotFinite(), folder=tmp_path / "a", device="cpu", seed=0)
    task = EndlessGradient()
    task.max_grad_norm = limit
    with pytest.raises(TrainingError, match=r"The gradient is (nan|inf) at step 1 of 12"):
        fit(task, folder=tmp_path / "b", device="cpu", seed=0)
    assert not (tmp_path / "b" / NAME).exists()


class BrokenData(Regression):
    def batch(self, step: int) -> Any:
        if step == 2:
            raise TrainingError("The case is broken.")
        return super().batch(step)


def test_errors_of_the_background_thread_arrive(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^The case is broken\.$"):
        fit(BrokenData(), folder=tmp_path, device="cpu", seed=0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("omlab-batches")]


def test_gradients_are_clipped(tmp_path: Path) -> None:
    moved = {}
    for limit in (None, 1e-3):
        task = Regression()
        task.max_grad_norm, task.epochs, task.steps_per_epoch = limit, 1, 1
        before = [parameter.detach().clone() for parameter in task.module.parameters()]
        fit(task, folder=tmp_path / str(limit), device="cpu", seed=0)
        change = [(a.detach() - b).square().sum() for a, b in zip(task.module.parameters(), before, strict=True)]
        moved[limit] = torch.stack(change).sum().sqrt().item()
    # The first Nesterov step goes (1 + momentum) times rate times the clipped gradient.
    assert moved[1e-3] == pytest.approx(1.9 * 0.02 * 1e-3, rel=1e-3)
    assert moved[None] > 10 * moved[1e-3]


def test_refuses_what_cannot_be(tmp_path: Path) -> None:
    task = Regression()
    task.epochs = 0
    with pytest.raises(TrainingError, match="nothing to train: 0 epochs of 4 steps"):
        fit(task, folder=tmp_path, device="cpu", seed=0)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        fit(Regression(), folder=tmp_path / "file" / "sub", device="cpu", seed=0)
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="There is no GPU here to train on 'cuda:0'"):
            fit(Regression(), folder=tmp_path, device="cuda:0", seed=0)


def test_import_is_cheap() -> None:
    code = "import sys, omlab_train.losses, omlab_train; assert 'accelerate' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_mixed_precision_is_put_on_and_taken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omlab_train.loop._mixed_precision", lambda kind: "bf16")  # as on CUDA; works on a CPU too
    task, plain = Regression(), Regression()
    inside: set[torch.dtype] = set()
    task.module[1].register_forward_hook(lambda module, inputs, output: inside.add(output.dtype))  # type: ignore[index]
    rows = fit(task, folder=tmp_path / "mixed", device="cpu", seed=7)
    assert inside == {torch.bfloat16}
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    monkeypatch.undo()
    exact = fit(plain, folder=tmp_path / "plain", device="cpu", seed=7)
    assert rows[-1]["loss"] == pytest.approx(exact[-1]["loss"], rel=0.1)
    inside.clear()
    with torch.no_grad():
        task.module(torch.ones(1, 4))
    assert inside == {torch.float32}
    assert all(parameter.dtype == torch.float32 for parameter in task.module.parameters())
    assert set(vars(task.module)) == set(vars(nn.Sequential()))


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed training")
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-m", *launch], check=True, timeout=120, env=environment)
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first["weights"] == second["weights"]
    assert first["batches"] == [2 * step for step in range(STEPS * EPOCHS)]
    assert second["batches"] == [2 * step + 1 for step in range(STEPS * EPOCHS)]
    assert [row["loss"] for row in first["rows"]] == [row["loss"] for row in second["rows"]]
    assert first["rows"][-1]["loss"] < 0.5 * first["rows"][0]["loss"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_learns_and_resumes(tmp_path: Path) -> None:
    whole = Regression()
    expected = fit(whole, folder=tmp_path / "whole", device="cuda", seed=7)
    assert expected[-1]["loss"] < 0.5 * expected[0]["loss"]
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupted(), folder=tmp_path / "cut", device="cuda", seed=7)
    resumed = Interrupted()
    resumed.calls = STEPS + 2
    rows = fit(resumed, folder=tmp_path / "cut", device="cuda", seed=7)
    assert_same_training(resumed, rows, whole, expected)
    fit(Regression(), folder=tmp_path / "cpu", device="cpu", seed=7)  # another device in the same process


def train_as_one_of_several(folder: Path) -> None:
    """What each process of `test_two_processes_train_one_model` does."""
    task = Regression()
    rows = fit(task, folder=folder / "training", device="cpu", seed=7)
    weights = {name: tensor.tolist() for name, tensor in task.module.state_dict().items()}
    found = {"rows": rows, "weights": weights, "batches": task.drawn}
    (folder / f"rank-{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        fit(Stuck(Path(sys.argv[2])), folder=Path(sys.argv[1]), device="cpu", seed=7)
    else:
        train_as_one_of_several(Path(sys.argv[1]))
