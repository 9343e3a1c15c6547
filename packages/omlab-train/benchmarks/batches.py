"""Training batches a second, by who makes the batches: a thread, or 1 or 2 worker processes.

    python benchmarks/batches.py                      # appends rows to results.csv
    python benchmarks/batches.py --before ../before   # also the loop of a checkout of 645ed60, which had a thread alone

A batch takes about as long to make as a step takes, either by waiting (a slow disk) or by work that holds the
interpreter (decoding in Python). The step is a small network on one thread, so that two cores can do both at once.
Each way has a process of its own and a row: milliseconds a step over epochs of `EPOCH` steps, the first two left out.
`load` is how many processes wanted the cores when the run began: rows of a busy machine say so.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

EPOCH, EPOCHS = 12, 12
LEFT_OUT = 2
SECONDS = 0.05
"""To make one batch."""
MAKINGS = ("waiting", "holding the interpreter")
WAYS = {"a thread": 0, "1 worker": 1, "2 workers": 2}
BEFORE = "a thread, before (645ed60)"
FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batches that take `SECONDS` to make."""

    making: str

    def __call__(self, number: int) -> Tensor:
        if self.making == "waiting":
            time.sleep(SECONDS)
        else:
            end, spent = SECONDS, time.thread_time()
            while time.thread_time() - spent < end:
                sum(range(1000))
        return torch.randn(2, 4, 32, 32, 32, generator=torch.Generator().manual_seed(number))


class Work:
    """A recipe of today's loop (`omlab_train.Recipe`), and a task of the one before (645ed60)."""

    steps, epoch, fingerprint = EPOCHS * EPOCH, EPOCH, ""
    epochs, steps_per_epoch, max_grad_norm = EPOCHS, EPOCH, None

    def __init__(self, making: str) -> None:
        torch.manual_seed(0)
        layers = (nn.Conv3d(4, 12, 3, padding=1), nn.ReLU(), nn.Conv3d(12, 12, 3, padding=1))
        self.module: nn.Module = nn.Sequential(*layers)
        self.batches = self.batch = Batches(making=making)

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters()), "lr": 1e-3, "weight_decay": 0.0}]

    def schedule(self, step: int) -> float:
        return 1.0

    def loss(self, batch: Tensor) -> tuple[Tensor, Mapping[str, float]]:
        return self.module(batch).square().mean(), {}

    def validate(self) -> None:
        return None

    @property
    def how(self) -> Any:
        from omlab_train import Optimisation

        return Optimisation()

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.module.parameters(), lr=1e-3)

    def learning_rate(self, step: int) -> float:
        return 1e-3


def measured(making: str, way: str) -> list[float]:
    """Milliseconds a step in each epoch but the first ones."""
    from omlab_train import fit

    torch.set_num_threads(1)
    more: dict[str, Any] = {} if way == BEFORE else {"workers": WAYS[way]}
    with tempfile.TemporaryDirectory() as folder:
        history = fit(Work(making), folder=Path(folder), device="cpu", seed=0, **more)
    return [1e3 * row["seconds"] / EPOCH for row in history[LEFT_OUT:]]


def step_alone() -> float:
    """Milliseconds of a step whose batch is there."""
    torch.set_num_threads(1)
    work = Work("waiting")
    optimizer, batch, times = work.optimizer(), work.batch(0), []
    for _ in range(3 * EPOCH):
        start = time.perf_counter()
        optimizer.zero_grad()
        work.loss(batch)[0].backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[EPOCH:])


def in_a_process(task: Mapping[str, str], *, before: Path | None = None) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if before is not None:
        sources = [str(before / "core" / "src"), *map(str, sorted(before.glob("packages/*/src")))]
        environment["PYTHONPATH"] = os.pathsep.join(sources)
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of 645ed60")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        task = json.loads(asked.child)
        print(json.dumps(measured(**task) if task else step_alone()))
        return
    now = datetime.datetime.now(datetime.UTC)
    machine = {
        "load": f"{os.getloadavg()[0]:.1f}", "machine": f"{platform.machine()} CPU", "cores": os.cpu_count(),
        "threads": 1, "python": platform.python_version(), "torch": torch.__version__, "date": now.date().isoformat(),
        "run": f"{now:%Y%m%d}-{secrets.token_hex(3)}",
    }  # fmt: skip
    alone = in_a_process({})
    for making in MAKINGS:
        for way in ([BEFORE] if asked.before else []) + list(WAYS):
            times = in_a_process({"making": making, "way": way}, before=asked.before if way == BEFORE else None)
            cuts = statistics.quantiles(times, n=10, method="inclusive")
            row = {
                "benchmark": "training batches", "making": f"{1e3 * SECONDS:.0f} ms, {making}", "way": way,
                "p20_ms": f"{cuts[1]:.1f}", "p50_ms": f"{cuts[4]:.1f}", "p80_ms": f"{cuts[7]:.1f}",
                "batches_a_second": f"{1e3 / cuts[4]:.1f}", "step_alone_ms": f"{alone:.1f}", **machine,
            }  # fmt: skip
            append(row)
            print(*(f"{name}={value}" for name, value in row.items()), flush=True)


def append(row: Mapping[str, Any]) -> None:
    path = FOLDER / "results.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
