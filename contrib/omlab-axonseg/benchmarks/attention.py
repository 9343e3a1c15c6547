"""Axial attention through strided views against copies, and the mean filter by axes against a convolution.

    python benchmarks/attention.py [SIDE]

Medians of five, in milliseconds, one thread: 64 channels, 4 heads of 16, as the widest level of the published network.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from omlab_axonseg.axial_attention import AxialAttention
from omlab_axonseg.registration.mean_filter import mean_filter


def permuted(attention: AxialAttention, x: Tensor) -> Tensor:
    """(B, C, D, H, W), each axis brought to the end by a copy and back."""
    for along in attention.axial_attentions:
        fn, axis = along.fn, along.axis
        rows = x.movedim(1, -1).movedim(axis + 1, -2).contiguous()  # type: ignore[operator]
        keys, values = fn.to_kv(rows).chunk(2, dim=-1)  # type: ignore[operator,union-attr]
        query, key, value = (
            one.unflatten(-1, (fn.heads, -1)).transpose(-2, -3).contiguous()  # type: ignore[union-attr]
            for one in (fn.to_q(rows), keys, values)  # type: ignore[operator,union-attr]
        )
        scores = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
        mixed = (scores.softmax(dim=-1) @ value).transpose(-2, -3).flatten(-2)
        x = fn.to_out(mixed).movedim(-2, axis + 1).movedim(-1, 1).contiguous()  # type: ignore[operator,union-attr]
    return x


def milliseconds(work: Callable[[], object]) -> float:
    """The median of five."""
    work()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


if __name__ == "__main__":
    torch.set_num_threads(1)
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    with torch.inference_mode():
        attention = AxialAttention(64, heads=4, head_size=16)
        x = torch.randn(1, 64, side, side, side)
        assert torch.allclose(attention(x), permuted(attention, x), atol=1e-4)
        ours, theirs = milliseconds(lambda: attention(x)), milliseconds(lambda: permuted(attention, x))
        print(f"attention {side}^3: views {ours:.0f}, copies {theirs:.0f}")
        field, box = torch.randn(1, 1, side, side, side), torch.full((1, 1, 15, 15, 15), 15.0**-3)
        ours = milliseconds(lambda: mean_filter(field, size=15))
        theirs = milliseconds(lambda: functional.conv3d(field, box, padding=7))
        print(f"mean filter 15^3 of {side}^3: axes {ours:.0f}, convolution {theirs:.0f}")
