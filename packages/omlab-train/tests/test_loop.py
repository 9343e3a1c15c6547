"""The loop: it learns, resumes bit for bit after kill -9 and Ctrl-C, and stops with one sentence."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import omlab_train_toys as toys
import pytest
import torch
from omlab_train_toys import ADAMW, EPOCHS, SGD, STEPS, Regression, Sums
from torch import Tensor, nn

from omlab import progress
from omlab.errors import OmlabNote, OutputError, SettingsError, TrainingError
from omlab_train import Loop, Optimisation, Recipe, fit
from omlab_train.checkpoint import NAME, CheckpointWarning

EVERYTHING = replace(ADAMW, accumulate=2, ema=0.9)


class Interrupted(Regression):
    """Is interrupted by the user in the middle of the second epoch."""

    calls = 0

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        self.calls += 1
        if self.calls == (STEPS + 2) * self.how.accumulate:
            raise KeyboardInterrupt
        return super().loss(batch)


def timeless(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def assert_same_training(
    recipe: Regression, rows: list[dict[str, float]], other: Regression, other_rows: list[dict[str, float]]
) -> None:
    pairs = zip(recipe.module.state_dict().items(), other.module.state_dict().values(), strict=True)
    for (name, value), reference in pairs:
        assert torch.equal(value, reference), name
    assert timeless(rows) == timeless(other_rows)


def test_learns_and_reports(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    opened: list[tuple[str, int | None]] = []

    @contextmanager
    def sink(description: str, total: int | None) -> Iterator[progress.Advance]:
        opened.append((description, total))
        yield lambda steps=1, /, **figures: seen.append(figures)

    recipe = Regression()
    before = torch.get_rng_state()
    with progress.shown_by(sink):
        rows = fit(recipe, folder=tmp_path / "new" / "folder", device="cpu", seed=0)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert [row["learning_rate"] for row in rows] == [0.02 * recipe.schedule(e * STEPS) for e in range(EPOCHS)]
    assert list(rows[0]) == ["epoch", "loss", "learning_rate", "seconds", "rmse"]
    assert opened == [("training", STEPS * EPOCHS)]
    assert len(seen) == STEPS * EPOCHS
    mean = sum(row["loss"] for row in seen[:STEPS]) / STEPS
    assert rows[0]["loss"] == pytest.approx(mean, rel=1e-12)
    assert rows[0]["rmse"] == pytest.approx(sum(row["rmse"] for row in seen[:STEPS]) / STEPS, rel=1e-12)
    assert not recipe.module.training
    assert type(recipe.module) is nn.Sequential
    assert threading.current_thread().name not in recipe.batches.threads
    assert torch.equal(before, torch.get_rng_state())
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [NAME]


CURVES = {
    "sgd": [4.52465, 2.21682, 4.23233, 1.87605, 3.8333, 1.78339, 2.52683, 1.87055, 1.37145, 1.81679, 0.71019, 1.29804],
    "adamw": [4.52465, 2.22744, 4.30513, 1.75157, 4.00712, 2.19038, 3.12115, 2.40257, 2.1122, 3.1557, 1.49344, 2.78984],
}
"""Losses of each step by the loop that came before this one."""


@pytest.mark.parametrize("how", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_the_losses_are_the_recorded_ones(tmp_path: Path, how: Optimisation) -> None:
    losses: list[float] = []

    @contextmanager
    def sink(description: str, total: int | None) -> Iterator[progress.Advance]:
        yield lambda steps=1, /, **figures: losses.append(figures["loss"])

    with progress.shown_by(sink):
        fit(Regression(how), folder=tmp_path, device="cpu", seed=7)
    assert losses == pytest.approx(CURVES[how.optimizer], abs=2e-5)


def test_adam_adds_the_decay_to_the_gradient(tmp_path: Path) -> None:
    recipe, alone = (Regression(Optimisation(optimizer="adam"), dropout=0.0, steps=3, epoch=1) for _ in range(2))
    recipe.weight_decay = 0.3
    optimizer = torch.optim.Adam(alone.module.parameters(), weight_decay=0.3)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = alone.rate * alone.schedule(step)
        loss, _ = alone.loss(alone.batches(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fit(recipe, folder=tmp_path, device="cpu", seed=0)
    for found, expected in zip(recipe.module.parameters(), alone.module.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_last_epoch_may_be_short(tmp_path: Path) -> None:
    recipe = Regression(steps=7, epoch=3)
    rows = fit(recipe, folder=tmp_path, device="cpu", seed=0)
    assert len(rows) == 3
    assert recipe.batches.drawn == list(range(7))
    again = Regression(steps=7, epoch=3)
    assert fit(again, folder=tmp_path, device="cpu", seed=0) == rows
    assert again.batches.drawn == []


@pytest.mark.parametrize("how", [SGD, ADAMW, EVERYTHING], ids=["sgd", "adamw", "everything"])
def test_resumes_bit_for_bit_after_ctrl_c(tmp_path: Path, how: Optimisation) -> None:
    whole = Regression(how)
    expected = fit(whole, folder=tmp_path / "whole", device="cpu", seed=7)
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupted(how), folder=tmp_path / "cut", device="cpu", seed=7)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == [NAME]
    resumed = Interrupted(how)
    resumed.calls = 1000
    with pytest.warns(OmlabNote, match=f"ended after epoch 1 of {EPOCHS}"):
        rows = fit(resumed, folder=tmp_path / "cut", device="cpu", seed=7)
    assert resumed.calls == 1000 + 2 * STEPS * how.accumulate, "the first epoch must not be trained again"
    assert_same_training(resumed, rows, whole, expected)


def test_resumes_bit_for_bit_after_kill(tmp_path: Path) -> None:
    whole = Regression()
    expected = fit(whole, folder=tmp_path / "whole", device="cpu", seed=7)
    marker, folder = tmp_path / "marker", tmp_path / "killed"
    child = subprocess.Popen([sys.executable, toys.__file__, "stuck", str(folder), str(marker)])
    try:
        deadline = time.monotonic() + 60
        while not marker.exists():
            assert child.poll() is None, "the child ended before it was killed"
            assert time.monotonic() < deadline, "the child did not get to its last epoch"
            time.sleep(0.02)
    finally:
        child.kill()
        assert child.wait() == -signal.SIGKILL
    (folder / ".omlab-abcd").mkdir()
    (folder / ".omlab-abcd" / NAME).write_bytes(b"half a checkpoint")
    resumed = Regression()
    rows = fit(resumed, folder=folder, device="cpu", seed=7)
    assert resumed.batches.drawn == [8, 9, 10, 11], "the last epoch was cut short, so it must be trained again"
    assert_same_training(resumed, rows, whole, expected)
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_a_complete_training_is_only_read(tmp_path: Path) -> None:
    first = Regression(EVERYTHING)
    rows = fit(first, folder=tmp_path, device="cpu", seed=0)
    again = Regression(EVERYTHING)
    assert fit(again, folder=tmp_path, device="cpu", seed=0) == rows
    assert not again.batches.drawn
    assert_same_training(again, rows, first, rows)


OTHERS: dict[str, dict[str, Any]] = {
    "seed": {},
    "weights": {},
    "rate": {"rate": 0.01},
    "data": {"data": "b"},
    "accumulation": {"how": replace(SGD, accumulate=2)},
    "average": {"how": replace(SGD, ema=0.9)},
    "precision": {"how": replace(SGD, precision="bfloat16")},
}


@pytest.mark.parametrize("change", OTHERS)
def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path, change: str) -> None:
    fit(Regression(), folder=tmp_path, device="cpu", seed=0)
    other = Regression(**OTHERS[change])
    if change == "weights":
        next(iter(other.module.parameters())).data[0, 0] += 1
    with pytest.warns(CheckpointWarning, match="other settings, data or initial weights"):
        fit(other, folder=tmp_path, device="cpu", seed=int(change == "seed"))
    assert other.batches.drawn


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    first = Regression()
    rows = fit(first, folder=tmp_path, device="cpu", seed=0)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[: len(whole) // 2])
    again = Regression()
    with pytest.warns(CheckpointWarning, match="cannot be read"):
        again_rows = fit(again, folder=tmp_path, device="cpu", seed=0)
    assert_same_training(again, again_rows, first, rows)


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    def doubled(number: int) -> Any:
        parts = [Sums()(2 * number), Sums()(2 * number + 1)]
        return {
            "x": torch.cat([part["x"] for part in parts]),
            "extra": [torch.cat([part["extra"][0] for part in parts])],
        }

    small = Regression(replace(SGD, accumulate=2), dropout=0.0)
    large = Regression(SGD, dropout=0.0, batches=doubled)
    rows = fit(small, folder=tmp_path / "small", device="cpu", seed=0)
    expected = fit(large, folder=tmp_path / "large", device="cpu", seed=0)
    assert small.batches.drawn == list(range(2 * STEPS * EPOCHS))
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in expected], rel=1e-5)
    for value, reference in zip(small.module.parameters(), large.module.parameters(), strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-5, atol=1e-6)


class Validated(Regression):
    """Writes down the weights after each step, and those that it is validated with."""

    def __init__(self, how: Optimisation) -> None:
        super().__init__(how)
        self.after: list[Tensor] = []
        self.validated: list[Tensor] = []

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        assert self.module.training
        self.after.append(self.weight())
        return super().loss(batch)

    def validate(self) -> Mapping[str, float] | None:
        assert not self.module.training
        assert not torch.is_grad_enabled()
        torch.manual_seed(99)
        self.validated.append(self.weight())
        return {"score": len(self.validated)} if len(self.validated) != 2 else None

    def weight(self) -> Tensor:
        return next(iter(self.module.parameters())).detach().clone()


def test_validation_sees_the_averaged_weights_and_changes_nothing(tmp_path: Path) -> None:
    decay = 0.3
    recipe, plain = Validated(replace(SGD, ema=decay)), Validated(SGD)
    rows = fit(recipe, folder=tmp_path / "ema", device="cpu", seed=7)
    fit(plain, folder=tmp_path / "plain", device="cpu", seed=7)
    assert [row.get("val_score") for row in rows] == [1, None, 3]
    assert all(torch.equal(a, b) for a, b in zip(recipe.after, plain.after, strict=True))
    assert torch.equal(plain.validated[0], plain.after[STEPS])
    averages = [recipe.after[0]]
    for steps, weight in enumerate([*recipe.after[1:], plain.weight()], start=1):
        kept = min(decay, (1 + steps) / (10 + steps))
        averages.append(kept * averages[-1] + (1 - kept) * weight)
    for epoch in range(EPOCHS):
        torch.testing.assert_close(recipe.validated[epoch], averages[(epoch + 1) * STEPS])
    assert torch.equal(recipe.weight(), recipe.validated[-1])
    assert not torch.equal(recipe.weight(), plain.weight())


class Grouped(Regression):
    """Two groups, and a frozen norm in between."""

    def __init__(self, *, frozen: bool) -> None:
        super().__init__(Optimisation(optimizer="sgd"))
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.modes: list[bool] = []
        for parameter in self.module[1].parameters() if frozen else []:
            parameter.requires_grad = False

    def groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.module[:3].parameters()), "lr": 0.01, "weight_decay": 0.0},  # type: ignore[index]
            {"params": list(self.module[3].parameters()), "lr": 0.02, "weight_decay": 0.0},  # type: ignore[index]
            {"params": [nn.Parameter(torch.zeros(1), requires_grad=False)], "lr": 9.0, "weight_decay": 0.0},
        ]

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        self.modes = [part.training for part in self.module.modules()]
        return super().loss(batch)


def test_what_is_frozen_stays(tmp_path: Path) -> None:
    recipe = Grouped(frozen=True)
    before = {name: value.clone() for name, value in recipe.module.state_dict().items()}
    rows = fit(recipe, folder=tmp_path, device="cpu", seed=0)
    assert rows[0]["learning_rate"] == 0.02
    assert recipe.modes == [True, True, False, True, True]
    changed = {name for name, value in recipe.module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"0.weight", "0.bias", "3.weight", "3.bias"}
    learning = Grouped(frozen=False)
    with pytest.warns(CheckpointWarning):
        fit(learning, folder=tmp_path, device="cpu", seed=0)
    assert learning.modes == [True] * 5
    assert set(learning.module.state_dict()) == changed | {
        name for name, value in learning.module.state_dict().items() if not torch.equal(value, before[name])
    }


def test_a_checkpoint_holds_what_is_trained_alone(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    fit(Grouped(frozen=True), folder=tmp_path, device="cpu", seed=0)
    names = {name for name in load_file(tmp_path / NAME) if name.startswith("module/")}
    assert "module/1.running_mean" in names
    assert "module/1.weight" not in names
    resumed = Grouped(frozen=True)
    fit(resumed, folder=tmp_path, device="cpu", seed=0)
    assert resumed.batches.drawn == []


class NotFinite(Regression):
    calls = 0

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        loss, _ = super().loss(batch)
        self.calls += 1
        return (loss * math.nan if self.calls == STEPS + 2 else loss), {}


class EndlessGradient(Regression):
    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        return (self.module(batch["x"]) * 0).abs().sqrt().sum(), {}  # the slope of sqrt at 0 is infinite


@pytest.mark.parametrize("limit", [None, 5.0])
def test_a_loss_or_gradient_that_is_not_finite_stops(tmp_path: Path, limit: float | None) -> None:
    with pytest.raises(TrainingError, match=r"The loss is nan at step 6 of 12: lower the learning rate"):
        fit(NotFinite(), folder=tmp_path / "a", device="cpu", seed=0)
    with pytest.raises(TrainingError, match=r"The gradient is (nan|inf) at step 1 of 12"):
        fit(EndlessGradient(replace(SGD, max_grad_norm=limit)), folder=tmp_path / "b", device="cpu", seed=0)
    assert not (tmp_path / "b" / NAME).exists()


def test_errors_of_the_background_thread_arrive(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^The case is broken\.$"):
        fit(Regression(batches=Sums(fail_at=2)), folder=tmp_path, device="cpu", seed=0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("omlab-batches")]


def test_gradients_are_clipped(tmp_path: Path) -> None:
    moved = {}
    for limit in (None, 1e-3):
        recipe = Regression(replace(SGD, max_grad_norm=limit), steps=1)
        before = [parameter.detach().clone() for parameter in recipe.module.parameters()]
        fit(recipe, folder=tmp_path / str(limit), device="cpu", seed=0)
        change = [(a.detach() - b).square().sum() for a, b in zip(recipe.module.parameters(), before, strict=True)]
        moved[limit] = torch.stack(change).sum().sqrt().item()
    # The first Nesterov step goes (1 + momentum) times rate times the clipped gradient.
    assert moved[1e-3] == pytest.approx(1.9 * 0.02 * 1e-3, rel=1e-3)
    assert moved[None] > 10 * moved[1e-3]


def test_each_gradient_may_be_clipped_by_itself(tmp_path: Path) -> None:
    how = Optimisation(optimizer="sgd", max_grad_norm=1e-3, clips_each=True)
    recipe = Regression(how, steps=1)
    before = [parameter.detach().clone() for parameter in recipe.module.parameters()]
    fit(recipe, folder=tmp_path, device="cpu", seed=0)
    for parameter, was in zip(recipe.module.parameters(), before, strict=True):
        assert (parameter.detach() - was).norm().item() == pytest.approx(0.02 * 1e-3, rel=2e-3)


def test_weight_decay_rises_by_half_a_cosine(tmp_path: Path) -> None:
    """Without gradients weights shrink by rate x decay alone."""

    class Decaying(Regression):
        def groups(self) -> list[Any]:
            return [{"params": list(self.module.parameters()), "lr": 0.1, "weight_decay": 0.2}]

        def schedule(self, step: int) -> float:
            return 1.0

        def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
            return sum(parameter.sum() for parameter in self.module.parameters()) * 0.0, {}

    recipe = Decaying(Optimisation(decay_rise=10.0), steps=3, epoch=3)
    before = next(recipe.module.parameters()).detach().clone()
    fit(recipe, folder=tmp_path, device="cpu", seed=0)
    kept = math.prod(1 - 0.1 * 0.2 * (10 - 9 * 0.5 * (1 + math.cos(math.pi * step / 3))) for step in range(3))
    torch.testing.assert_close(next(recipe.module.parameters()).detach(), before * kept)


def test_refuses_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to train: 0 steps in epochs of 4"):
        fit(Regression(steps=0), folder=tmp_path, device="cpu", seed=0)
    with pytest.raises(TrainingError, match="workers is -1"):
        fit(Regression(), folder=tmp_path, device="cpu", seed=0, workers=-1)
    frozen = Regression()
    frozen.module.requires_grad_(False)
    with pytest.raises(TrainingError, match="no parameter in the recipe's groups requires a gradient"):
        fit(frozen, folder=tmp_path, device="cpu", seed=0)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        fit(Regression(), folder=tmp_path / "file" / "sub", device="cpu", seed=0)
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="There is no GPU here to train on 'cuda:0'"):
            fit(Regression(), folder=tmp_path, device="cuda:0", seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "lion"}, "optimizer is 'lion', but must be one of adamw, adam, sgd"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"accumulate": 0}, "accumulate is 0, but must be at least 1"),
        ({"ema": 1.0}, "ema is 1.0, but must be between 0 and 1"),
        ({"max_grad_norm": 0.0}, "max_grad_norm is 0.0, but must be above 0"),
        ({"decay_rise": -1.0}, "decay_rise is -1.0, but must be at least 0"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"nesterov": True}, "nesterov is True, but must be off"),
    ],
)
def test_parts_that_cannot_be_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        Optimisation(**change)


def test_import_is_cheap() -> None:
    code = (
        "import sys, omlab_train.losses, omlab_train, omlab_train.curves, omlab_train.cache; "
        "assert not {'accelerate', 'matplotlib', 'tensorboard'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bfloat16_is_put_on_and_taken_off(tmp_path: Path) -> None:
    recipe, plain = Regression(replace(SGD, precision="bfloat16")), Regression()
    inside: set[torch.dtype] = set()
    recipe.module[1].register_forward_hook(lambda module, inputs, output: inside.add(output.dtype))  # type: ignore[index]
    rows = fit(recipe, folder=tmp_path / "mixed", device="cpu", seed=7)
    assert inside == {torch.bfloat16}
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    exact = fit(plain, folder=tmp_path / "plain", device="cpu", seed=7)
    assert rows[-1]["loss"] == pytest.approx(exact[-1]["loss"], rel=0.1)
    inside.clear()
    with torch.no_grad():
        recipe.module(torch.ones(1, 4))
    assert inside == {torch.float32}
    assert all(parameter.dtype == torch.float32 for parameter in recipe.module.parameters())
    assert set(vars(recipe.module)) == set(vars(nn.Sequential()))


@pytest.mark.parametrize("role", [Recipe, Loop])
def test_the_examples_of_the_roles_work(role: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", role.__doc__ or "", flags=re.DOTALL)
    code = "\n".join(line.removeprefix("    ") for line in blocks[0].splitlines())
    found: dict[str, Any] = {}
    exec(compile(code, f"the example of {role.__name__}", "exec"), found)
    if role is Recipe:
        assert len(found["history"]) == 4
        assert found["history"][-1]["loss"] < 0.1 * found["history"][0]["loss"]
        assert not isinstance(found["Regression"](nn.Linear(4, 1), seed=0), Loop)
    else:
        loop = found["Steepest"](nn.Linear(4, 1))
        assert isinstance(loop, Loop)
        losses = [loop.run(device="cpu", folder=tmp_path, seed=0)[0]["loss"] for _ in range(2)]
        assert losses[1] < losses[0]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed training")
def test_two_processes_train_as_one_that_accumulates(tmp_path: Path) -> None:
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", *launch, toys.__file__, "several", str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, env=environment)
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    steps = STEPS * EPOCHS - 1
    alone = Regression(Optimisation(accumulate=2, ema=0.5), dropout=0.0, steps=steps)
    rows = fit(alone, folder=tmp_path / "alone", device="cpu", seed=7)
    assert first["weights"] == second["weights"]
    assert first["batches"] == [2 * step for step in range(steps)]
    assert second["batches"] == [2 * step + 1 for step in range(steps)]
    assert first["written"] != []
    assert second["written"] == []
    assert [row["loss"] for row in first["rows"]] == [row["loss"] for row in second["rows"]]
    assert [row["loss"] for row in first["rows"]] == pytest.approx([row["loss"] for row in rows], rel=1e-5)
    for name, value in alone.module.state_dict().items():
        torch.testing.assert_close(torch.tensor(first["weights"][name]), value, rtol=1e-4, atol=1e-6)
    assert [path.name for path in (tmp_path / "training").iterdir()] == [NAME]
    subprocess.run(command, check=True, timeout=120, env=environment)  # both find the checkpoint
    again = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert [found["batches"] for found in again] == [[], []]
    assert [found["weights"] for found in again] == [first["weights"]] * 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("workers", [0, 2])
def test_cuda_learns_and_resumes(tmp_path: Path, workers: int) -> None:
    how = replace(EVERYTHING, precision="auto")
    whole = Regression(how)
    expected = fit(whole, folder=tmp_path / "whole", device="cuda", seed=7, workers=workers)
    assert expected[-1]["loss"] < 0.5 * expected[0]["loss"]
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupted(how), folder=tmp_path / "cut", device="cuda", seed=7)
    resumed = Interrupted(how)
    resumed.calls = 1000
    rows = fit(resumed, folder=tmp_path / "cut", device="cuda", seed=7, workers=workers)
    assert_same_training(resumed, rows, whole, expected)
    fit(Regression(), folder=tmp_path / "cpu", device="cpu", seed=7)  # another device in the same process
