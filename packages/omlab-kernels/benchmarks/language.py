"""Memory and time of what language models spend both on: the loss over a large vocabulary.

    python language.py                              # on the CPU, one thread; appends rows to language.csv
    python language.py --tokens 256                 # where there are no 8 GiB

Forward and backward in float32, each way in a process of its own. Peaks are of resident memory beyond the inputs,
gradients included; ratios are to the first way, in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measure import drawn_with, new_run
from torch import Tensor
from torch.nn import functional

from omlab_testkit.rows import append_rows

RESULTS = Path(__file__).with_name("language.csv")
Shape = Mapping[str, Any]
Prepared = tuple[list[Tensor], Callable[[], Tensor]]
"""What learns, and what is measured: its sum is what gradients are of."""


def vocabulary(way: str, *, tokens: int, words: int, width: int, learns: str) -> Prepared:
    """The width is small so that the logits are what is measured: they do not depend on it."""
    draw = drawn_with(0, "cpu")
    hidden = draw(tokens, width).requires_grad_()
    output = draw(words, width).div_(width**0.5).requires_grad_(learns == "all")
    targets = torch.randint(0, words, (tokens,), generator=torch.Generator().manual_seed(0))
    learnt = [one for one in (hidden, output) if one.requires_grad]
    if way == "plain":
        return learnt, lambda: functional.cross_entropy(functional.linear(hidden, output), targets)
    if way == "torch-chunked":  # torch 2.13; an older one has none
        if tokens > 256:
            raise ValueError("torch's chunks take minutes here")
        options = torch.nn.LinearCrossEntropyOptions()
        return learnt, lambda: functional.linear_cross_entropy(hidden, output, targets, options=options)
    from omlab_kernels import linear_cross_entropy

    return learnt, lambda: linear_cross_entropy(hidden, output, targets)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured: the ways, of which the first is what ratios are to; the shapes; the smallest, to warm up."""

    ways: list[str]
    shapes: list[Shape]
    small: Shape
    prepare: Callable[..., Prepared]


LOSS = {"tokens": 2048, "words": 250_880, "width": 128}
SUBJECTS = {
    "vocabulary": Subject(
        ways=["plain", "torch-chunked", "ours"],
        shapes=[LOSS | {"tokens": 256, "learns": "all"}, LOSS | {"learns": "all"}, LOSS | {"learns": "hidden"}],
        small={"tokens": 2, "words": 100, "width": 8, "learns": "all"},
        prepare=vocabulary,
    ),
}


def step(subject: Subject, way: str, shape: Shape) -> dict[str, float]:
    """Seconds and memory of one step, its value, and the largest entry of the first gradient."""
    learnt, call = subject.prepare(way, **shape)
    before, wall, processor = memory_mib(), time.perf_counter(), time.process_time()
    value = call().sum()
    gradients = torch.autograd.grad(value, learnt)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - processor,
        "peak_mib": memory_mib() - before,
        "value": value.item(),
        "gradient": gradients[0].abs().max().item(),
    }


def memory_mib() -> float:
    """This process's highest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(task: dict[str, Any]) -> dict[str, float] | None:
    """What a child measured; None where this way is not to be had here."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(task)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(f"{task} gave no row: {(done.stderr.splitlines() or [done.returncode])[-1]}", file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(name: str, shape: Shape, *, run: str) -> None:
    """All ways of one shape; a row each."""
    found = {way: in_a_process({"subject": name, "way": way, "shape": shape}) for way in SUBJECTS[name].ways}
    first = found[SUBJECTS[name].ways[0]]
    for way, one in found.items():
        if one is None or first is None:
            continue
        ratios = {f"{part}_ratio": f"{one[part] / first[part]:.3f}" for part in ("wall_s", "cpu_s", "peak_mib")}
        figures = {part: f"{value:.6g}" for part, value in one.items()}
        told = " ".join(f"{part}={value}" for part, value in shape.items())
        append_rows(RESULTS, [{"subject": name, "way": way, "shape": told, **figures, **ratios, "run": run}], threads=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(SUBJECTS), help="this subject")
    parser.add_argument("--tokens", type=int, help="so many in every shape")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        task = json.loads(asked.child)
        subject = SUBJECTS[task["subject"]]
        step(subject, task["way"], subject.small)  # what is loaded at first use is no memory of the subject
        print(json.dumps(step(subject, task["way"], task["shape"])))
        return
    run = new_run()
    for name in [asked.only] if asked.only else list(SUBJECTS):
        for shape in SUBJECTS[name].shapes:
            compare(name, dict(shape) | ({"tokens": asked.tokens} if asked.tokens else {}), run=run)


if __name__ == "__main__":
    main()
