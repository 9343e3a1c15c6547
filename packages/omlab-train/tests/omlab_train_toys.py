"""A small regression as a recipe, and how it is trained in a process of its own."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
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
    weights = {name: tensor.tolist() for name, tensor in recipe.module.state_dict().items()}
    found = {"rows": rows, "weights": weights, "batches": recipe.batches.drawn, "written": written}
    (folder / f"rank-{os.environ['RANK']}.json").write_text(json.dumps(found))


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
