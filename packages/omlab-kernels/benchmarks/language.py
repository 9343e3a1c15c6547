"""Memory and time of what language models spend both on: attention with ALiBi, the loss over a large vocabulary.

    python language.py                              # on the CPU, one thread; appends rows to language.csv
    python language.py --tokens 256                 # where there are no 8 GiB

Forward and backward (attention also forward alone) in float32, each way in a process of its own. Peaks are of resident
memory beyond the inputs, gradients included; ratios are to the first way, in the same run. Linux alone.
"""

from __future__ import annotations

import argparse
import json
import os
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


def attention(way: str, *, tokens: int, heads: int, width: int, part: str) -> Prepared:
    """BLOOM's, from queries, keys and values as its layer has them, without the products of matrices around it.

    `part` is `training`, `reading` (forward alone) or `writing`: 20 tokens after `tokens` that are kept, one by one.
    """
    keys = tokens if part != "writing" else tokens + 1
    fused = drawn_with(0, "cpu")(1, keys, heads * 3 * width).requires_grad_(part == "training")
    q, k, v = fused.view(1, keys, heads, 3, width).permute(3, 0, 2, 1, 4)
    offset = tokens if part == "writing" else 0
    once = ATTENTION[way](fused, q[:, :, offset:], k, v, offset=offset)
    repeats = 20 if part == "writing" else 1
    return [fused] if part == "training" else [], lambda: torch.stack([once() for _ in range(repeats)])


def eager(fused: Tensor, q: Tensor, k: Tensor, v: Tensor, *, offset: int) -> Callable[[], Tensor]:
    """transformers' layer, whose products of matrices with weights are left out."""
    from transformers import BloomConfig
    from transformers.models.bloom.modeling_bloom import BloomAttention

    heads, keys, width = k.shape[1:]
    layer = BloomAttention(BloomConfig(hidden_size=heads * width, n_head=heads), layer_idx=0).eval()
    layer.query_key_value, layer.dense = torch.nn.Identity(), torch.nn.Identity()
    bias = bias_of(keys, heads).view(heads, 1, keys)
    later = torch.ones(keys - offset, keys, dtype=torch.bool).triu(1 + offset)
    mask = torch.zeros(1, 1, keys - offset, keys).masked_fill(later, torch.finfo(torch.float32).min)
    given, rest = fused[:, offset:], torch.zeros(1, keys - offset, heads * width)
    kept = Kept(k, v) if offset else None
    return lambda: layer(given, rest, alibi=bias, attention_mask=mask, layer_past=kept)[0]


@dataclass(frozen=True)
class Kept:
    """A cache that has all keys and values already."""

    keys: Tensor
    values: Tensor

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        return self.keys, self.values


def ours(fused: Tensor, q: Tensor, k: Tensor, v: Tensor, *, offset: int) -> Callable[[], Tensor]:
    from omlab_kernels import attention_alibi

    bias = bias_of(k.shape[2], k.shape[1])
    return lambda: attention_alibi(q, k, v, bias, offset=offset)


def masked(fused: Tensor, q: Tensor, k: Tensor, v: Tensor, *, offset: int) -> Callable[[], Tensor]:
    """Fused attention with all biases as its mask."""
    later = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu(1 + offset)
    bias = bias_of(k.shape[2], k.shape[1])
    return lambda: functional.scaled_dot_product_attention(
        q, k, v, attn_mask=bias[:, :, None].masked_fill(later, -torch.inf)
    )


def flex(fused: Tensor, q: Tensor, k: Tensor, v: Tensor, *, offset: int) -> Callable[[], Tensor]:
    """FlexAttention, compiled; on a CPU it has no gradient."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    bias = bias_of(k.shape[2], k.shape[1])
    block = create_block_mask(
        lambda b, h, i, j: i + offset >= j, None, None, q.shape[2], k.shape[2], device=str(q.device)
    )

    def biased(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + bias[b, h, j]

    compiled = torch.compile(flex_attention, dynamic=False)
    compiled(q, k, v, score_mod=biased, block_mask=block)  # compiling is no time of it
    return lambda: compiled(q, k, v, score_mod=biased, block_mask=block)


def bias_of(keys: int, heads: int) -> Tensor:
    from omlab_kernels import alibi_bias, alibi_slopes

    return alibi_bias(torch.ones(1, keys, dtype=torch.bool), alibi_slopes(heads))


ATTENTION = {"eager": eager, "sdpa-mask": masked, "flex": flex, "ours": ours}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured: the ways, of which the first is what ratios are to; the shapes; the smallest, to warm up."""

    ways: list[str]
    shapes: list[Shape]
    small: Shape
    prepare: Callable[..., Prepared]


HEADS = {"tokens": 2048, "heads": 32, "width": 128}
"""PULSE-7b's."""
LOSS = {"tokens": 2048, "words": 250_880, "width": 128}
SUBJECTS = {
    "attention": Subject(
        ways=list(ATTENTION),
        shapes=[HEADS | {"part": part} for part in ("training", "reading", "writing")],
        small={"tokens": 8, "heads": 2, "width": 8, "part": "training"},
        prepare=attention,
    ),
    "vocabulary": Subject(
        ways=["plain", "torch-chunked", "ours"],
        shapes=[LOSS | {"tokens": 256, "learns": "all"}, LOSS | {"learns": "all"}, LOSS | {"learns": "hidden"}],
        small={"tokens": 2, "words": 100, "width": 8, "learns": "all"},
        prepare=vocabulary,
    ),
}


def step(subject: Subject, way: str, shape: Shape) -> dict[str, float]:
    """Seconds and memory of one step, its value, and the largest entry of the first gradient (0 where none learns)."""
    learnt, call = subject.prepare(way, **shape)
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest memory so far
    before, wall, processor = memory_mib("VmRSS"), time.perf_counter(), time.process_time()
    value = call().square().mean()
    gradients = torch.autograd.grad(value, learnt) if learnt else [torch.zeros(1)]
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - processor,
        "peak_mib": memory_mib("VmHWM") - before,
        "value": value.item(),
        "gradient": gradients[0].abs().max().item(),
    }


def memory_mib(name: str) -> float:
    """This process's resident memory: `VmRSS` now, `VmHWM` at its highest."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


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
        ratios = {
            f"{part}_ratio": f"{one[part] / max(first[part], 1e-3):.3f}" for part in ("wall_s", "cpu_s", "peak_mib")
        }
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
        if task["way"] != "flex":  # which is compiled before it is measured
            step(subject, task["way"], subject.small)  # what is loaded at first use is no memory of the subject
        print(json.dumps(step(subject, task["way"], task["shape"])))
        return
    run = new_run()
    for name in [asked.only] if asked.only else list(SUBJECTS):
        for shape in SUBJECTS[name].shapes:
            compare(name, dict(shape) | ({"tokens": asked.tokens} if asked.tokens else {}), run=run)


if __name__ == "__main__":
    main()
