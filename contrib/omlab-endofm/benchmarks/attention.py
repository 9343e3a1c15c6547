"""A block of Endo-FM's backbone as it is here beside the form that regroups its tokens, on a CPU.

    python benchmarks/attention.py [--frames 1 8 16] [--rounds 5] [--threads 1]

Published width, frames of 224 pixels, inference, the same drawn weights. The regrouping form is TimeSformer's: one
tensor of all tokens, copied to sequences over time, to frames and back, two linear layers after the attention over
time. Both take turns in one process; `cpu_s` is the least processor time of a round, which says more than the clock on
a machine that is busy. Rows go to results.csv; ratios are to the regrouping form of the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omlab_endofm.backbone import Attention, BackboneConfig, Block
from omlab_testkit.rows import append_rows

RESULTS = Path(__file__).with_name("results.csv")
REGROUPED, OURS = "regrouped", "patch-major, folded"


def attention(layer: Attention, x: Tensor) -> Tensor:
    """(N, L, D) -> (N, L, D), by copies of queries, keys and values."""
    N, L, D = x.shape
    q, k, v = layer.qkv(x).reshape(N, L, 3, layer.heads, -1).permute(2, 0, 3, 1, 4).contiguous()
    mixed = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ v
    joined: Tensor = layer.proj(mixed.transpose(1, 2).reshape(N, L, D))
    return joined


def regrouped(block: Block, x: Tensor, *, frames: int) -> Tensor:
    """All tokens (B, 1 + P T, D), the class token first -> the same shape."""
    B, N, D = x.shape
    P, T = (N - 1) // frames, frames
    over_time = attention(block.temporal_attn, block.temporal_norm1(x[:, 1:].reshape(B * P, T, D)))
    patches = x[:, 1:] + block.temporal_fc(over_time.reshape(B, P * T, D))
    token = x[:, :1].repeat(1, T, 1).reshape(B * T, 1, D)
    by_frame = patches.view(B, P, T, D).transpose(1, 2).reshape(B * T, P, D)
    over_space = attention(block.attn, block.norm1(torch.cat([token, by_frame], dim=1)))
    of_token = over_space[:, 0].view(B, T, D).mean(dim=1, keepdim=True)
    of_patches = over_space[:, 1:].view(B, T, P, D).transpose(1, 2).reshape(B, P * T, D)
    x = torch.cat([x[:, :1], patches], dim=1) + torch.cat([of_token, of_patches], dim=1)
    made: Tensor = x + block.mlp(block.norm2(x))
    return made


def drawn() -> Block:
    """A block of the published width in which every part says something."""
    torch.manual_seed(0)
    block = Block(BackboneConfig()).eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.03)
    return block


@torch.inference_mode()
def compared(block: Block, *, frames: int, rounds: int) -> list[dict[str, Any]]:
    """Rows of both forms."""
    side = block.attn.qkv.in_features
    token, patches = torch.randn(1, 1, side), torch.randn(1, 196, frames, side)
    joined = torch.cat([token, patches.flatten(1, 2)], dim=1)
    ways: dict[str, Callable[[], Tensor]] = {
        REGROUPED: lambda: regrouped(block, joined, frames=frames),
        OURS: lambda: torch.cat([part.flatten(1, -2) for part in block(token, patches)], dim=1),
    }
    theirs, ours = (work() for work in ways.values())  # the first time layers are folded
    error = float((ours - theirs).abs().max() / theirs.std())
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, work in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            times[way].append((time.perf_counter() - wall, time.process_time() - cpu))
    least = min(cpu for _, cpu in times[REGROUPED])
    return [
        {
            "benchmark": "block",
            "form": way,
            "frames": frames,
            "rounds": rounds,
            "p50_s": round(statistics.median(wall for wall, _ in measured), 4),
            "cpu_s": round(min(cpu for _, cpu in measured), 4),
            "cpu_ratio": round(min(cpu for _, cpu in measured) / least, 3),
            "error_of_spread": f"{error:.1e}",
        }
        for way, measured in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    block = drawn()
    rows = [row for frames in asked.frames for row in compared(block, frames=frames, rounds=asked.rounds)]
    append_rows(RESULTS, rows, threads=asked.threads)


if __name__ == "__main__":
    main()
