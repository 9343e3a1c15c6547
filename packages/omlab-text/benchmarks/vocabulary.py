"""Memory and time of the loss over a large vocabulary: blocks of words beside all logits at once.

    python benchmarks/vocabulary.py                      # 2,048 tokens x 250,880 words; appends rows to results.csv
    python benchmarks/vocabulary.py --tokens 256         # where there are no 8 GiB

Forward and backward in float32, each way in a process of its own. Peaks are beyond the inputs, gradients included;
ratios are to the plain form (`linear`, then `cross_entropy` of torch) of the same run. The width is small so that the
logits are what is measured: they do not depend on it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from omlab_testkit.rows import append_rows
from omlab_text.training.vocabulary import cross_entropy

WORDS = 250_880
WIDTH = 128
RESULTS = Path(__file__).with_name("results.csv")


def plain(hidden: Tensor, output: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(functional.linear(hidden, output), targets)


WAYS = {"plain": plain, "blocks": cross_entropy}


def step(way: str, *, tokens: int, words: int, is_frozen: bool) -> dict[str, Any]:
    """Loss, the largest entry of the gradient, seconds and memory of one step."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, WIDTH, generator=generator).requires_grad_()
    output = torch.randn(words, WIDTH, generator=generator).div_(WIDTH**0.5).requires_grad_(not is_frozen)
    targets = torch.randint(0, words, (tokens,), generator=generator)
    before, wall, processor = memory_mib(), time.perf_counter(), time.process_time()
    loss = WAYS[way](hidden, output, targets)
    loss.backward()
    assert hidden.grad is not None
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - processor,
        "peak_mib": memory_mib() - before,
        "loss": loss.item(),
        "gradient": hidden.grad.abs().max().item(),
    }


def memory_mib() -> float:
    """This process's highest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(task: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(task)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{task} failed ({done.returncode}):\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        task = json.loads(asked.child)
        step(task["way"], tokens=2, words=100, is_frozen=False)  # what is loaded at first use is no memory of the loss
        print(json.dumps(step(**task)))
        return
    for is_frozen in (False, True):
        task = {"tokens": asked.tokens, "words": WORDS, "is_frozen": is_frozen}
        found = {way: in_a_process({"way": way, **task}) for way in WAYS}
        for way, one in found.items():
            figures = {name: f"{value:.6g}" for name, value in one.items()}
            ratios = {
                f"{name}_ratio": f"{one[name] / found['plain'][name]:.3f}" for name in ("wall_s", "cpu_s", "peak_mib")
            }
            case = {
                "tokens": asked.tokens,
                "words": WORDS,
                "width": WIDTH,
                "matrix": "frozen" if is_frozen else "learns",
            }
            row = {"benchmark": "vocabulary", "way": way, **case, **figures, **ratios}
            append_rows(RESULTS, [row], threads=1)


if __name__ == "__main__":
    main()
