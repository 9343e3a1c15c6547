"""A small regression as a recipe, and how it is trained in a process of its own."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import Tensor, nn

from omlab.errors import TrainingError
from omlab_train import Optimisation, fit, schedules

STEPS, EPOCHS = 4, 3
SGD = Optimisation(optimizer="sgd", momentum=0.9, nesterov=True, max_grad_norm=5.0)
ADAMW = Optimisation(max_grad_norm=5.0)


@dataclass
class Sums:
    """Batches of sixteen rows and their sums; in this process it remembers what it was asked for."""

    wait_at: int | None = None
    fail_at: int | None = None
    end_at: int | None = None
    marker: Path | None = None
    drawn: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def __call__(self, number: int) -> Any:
        self.drawn.append(number)
        self.threads.add(threading.current_thread().name)
        if number == self.wait_at and self.marker is not None:
            self.marker.touch()
            time.sleep(60)
        if number == self.fail_at:
            raise TrainingError("The case is broken.")
        if number == self.end_at:
            os._exit(3)
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1000 + number))
        return {"x": x, "extra": [x.sum(1, keepdim=True), "a word"]}


class SumsDrawnGlobally(Sums):
    """The same, from the random numbers of the process, which it seeds and puts back; so slowly that others draw."""

    draws_globally = True

    def __call__(self, number: int) -> Any:
        before = torch.get_rng_state()
        torch.manual_seed(1000 + number)
        time.sleep(0.002)
        x = torch.randn(16, 4)
        time.sleep(0.002)
        torch.set_rng_state(before)
        self.threads.add(threading.current_thread().name)
        return {"x": x, "extra": [x.sum(1, keepdim=True), "a word"]}


class Regression:
    """Learns y = sum(x), with dropout, so that the random state of torch matters too."""

    def __init__(
        self,
        how: Optimisation = SGD,
        *,
        rate: float = 0.02,
        data: str = "a",
        batches: Any = None,
        steps: int = STEPS * EPOCHS,
        epoch: int = STEPS,
        dropout: float = 0.2,
    ) -> None:
        generator = torch.Generator().manual_seed(3)
        self.module: nn.Module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 1))
        for parameter in self.module.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
        self.how, self.rate, self.fingerprint, self.steps, self.epoch = how, rate, data, steps, epoch
        self.batches = Sums() if batches is None else batches
        self.weight_decay = 0.01 if how.optimizer == "adamw" else 0.0

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters()), "lr": self.rate, "weight_decay": self.weight_decay}]

    def schedule(self, step: int) -> float:
        return schedules.poly(step // self.epoch * self.epoch, steps=self.steps)

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        error = (self.module(batch["x"]) - batch["extra"][0]).square().mean()
        return error, {"rmse": math.sqrt(error.item())}

    def validate(self) -> Mapping[str, float] | None:
        return None


def train_as_one_of_several(folder: Path) -> None:
    """What each process does under torchrun: write down all that it did and saw."""
    recipe = Regression(Optimisation(ema=0.5), dropout=0.0, steps=STEPS * EPOCHS - 1)
    opened: list[str] = []
    sys.addaudithook(lambda event, arguments: opened.extend(_written(event, arguments)))
    rows = fit(recipe, folder=folder / "training", device="cpu", seed=7)
    written = [name for name in opened if name.startswith(str(folder))]
    found = {"rows": rows, "weights": _weights(recipe.module), "batches": recipe.batches.drawn, "written": written}
    (folder / f"rank-{os.environ['RANK']}.json").write_text(json.dumps(found))


class Blocks(Regression):
    """Two blocks, of which one has frozen weights; `far` is lowest after the second epoch.

    `shares` are those of its weights that lay on the device whenever it was computed.
    """

    def __init__(self, how: Optimisation, *, cut_at: int | None = None) -> None:
        super().__init__(how, dropout=0.0, steps=STEPS * EPOCHS - 1)
        self.module = nn.Sequential(self.module, nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)))
        for number, parameter in enumerate(self.module.parameters()):
            parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) * 0.3
        self.module[1][0].requires_grad_(False)  # type: ignore[index]
        self.cut_at, self.calls, self.validations = cut_at, 0, 0
        self.count, self.shares = sum(one.numel() for one in self.module.parameters()), set[float]()

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        if self.calls == self.cut_at:
            raise KeyboardInterrupt
        self.calls += 1
        self.shares.add(self.share())
        return super().loss(batch)

    def share(self) -> float:
        """How much of the weights this process holds."""
        parts = [one.to_local() if hasattr(one, "to_local") else one for one in self.module.parameters()]
        return sum(part.numel() for part in parts) / self.count

    def validate(self) -> Mapping[str, float]:
        self.shares.add(self.share())
        x = torch.linspace(-1, 1, 24).reshape(6, 4)
        error = (self.module(x) - x.sum(1, keepdim=True)).square().mean().item()
        self.validations += 1
        return {"error": error, "far": abs(self.validations - 2)}


WHOLE = Optimisation(ema=0.5, max_grad_norm=0.5)
PARTED = replace(WHOLE, shards=("0", "1"))
SHARDED = {
    "average": PARTED,
    "best": replace(PARTED, ema=None, best="far"),
    "each": replace(PARTED, ema=None, clips_each=True, accumulate=2),
    "bfloat16": replace(PARTED, ema=None, precision="bfloat16"),
    "rest": replace(PARTED, shards=("1",)),
}
"""What two processes train in parts."""


def train_sharded(rank: int, folder: Path, port: int) -> None:
    """What each of two processes does: trains all of `SHARDED`, the first of them also interrupted and resumed."""
    own = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank}
    os.environ.update({name: str(value) for name, value in own.items()})
    found: dict[str, Any] = {}
    for name, how in SHARDED.items():
        recipe = Blocks(how)
        rows = fit(recipe, folder=folder / name, device="cpu", seed=7)
        found[name] = {"rows": rows, "weights": _weights(recipe.module), "shares": sorted(recipe.shares)}
    with suppress(KeyboardInterrupt):
        fit(Blocks(PARTED, cut_at=STEPS + 1), folder=folder / "cut", device="cpu", seed=7)
    resumed = Blocks(PARTED)
    rows = fit(resumed, folder=folder / "cut", device="cpu", seed=7)
    found["resumed"] = {"rows": rows, "weights": _weights(resumed.module), "calls": resumed.calls}
    (folder / f"rank-{rank}.json").write_text(json.dumps(found))


def train_until_killed(folder: Path) -> None:
    """What each process does under torchrun: the second is killed in its second epoch, but not the next time."""
    rank, marker = int(os.environ["RANK"]), folder / "killed"
    recipe = Blocks(PARTED, cut_at=STEPS + 1 if rank == 1 and not marker.exists() else None)
    try:
        fit(recipe, folder=folder / "training", device="cpu", seed=7)
    except KeyboardInterrupt:
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"rank-{rank}.json").write_text(json.dumps(_weights(recipe.module)))


def _fork_two(folder: Path) -> None:
    """Two processes that share what was imported, for that takes longer than they do."""
    for name in ("accelerate", "torch.distributed.fsdp"):
        import_module(name)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(train_sharded, args=(folder, port), nprocs=2, start_method="fork")


def _weights(module: nn.Module) -> dict[str, Any]:
    return {name: tensor.tolist() for name, tensor in module.state_dict().items()}


def _written(event: str, arguments: tuple[Any, ...]) -> list[str]:
    """Names of what an audited event opens for writing, makes, renames or removes."""
    if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
        return []
    known = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
    return [os.fsdecode(arguments[0])] if event in known and isinstance(arguments[0], str | bytes | Path) else []


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["stuck", folder, marker]:
            waiting = Sums(wait_at=2 * STEPS + 3, marker=Path(marker))
            fit(Regression(batches=waiting), folder=Path(folder), device="cpu", seed=7)
        case ["workers", folder, count]:
            rows = fit(Regression(), folder=Path(folder), device="cpu", seed=7, workers=int(count))
            print(json.dumps(rows))
        case ["several", folder]:
            train_as_one_of_several(Path(folder))
        case ["sharded", folder]:
            _fork_two(Path(folder))
        case ["killed", folder]:
            train_until_killed(Path(folder))
