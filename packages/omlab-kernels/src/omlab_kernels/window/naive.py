"""The specification of the sliding window's two steps, with a volume for each class.

Accumulation. With a window's scores s (K, d, h, w), weights g (d, h, w), and p = s or softmax over k of s,

    sums[k, v] += g[start + v] p[k, start + v]                                v in a box of the window

Labels. Along an axis output o lies between the inputs lower[o] and upper[o]; on all three axes in turn

    r[..., o] = (1 - weight[o]) s[..., lower[o]] + weight[o] s[..., upper[o]]
    label(v)  = the lowest k with r[k, v] = max over k' of r[k', v]

Source: nnU-Net's sliding window and export, Isensee et al., Nature Methods 18, 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def window_accumulate(
    sums: Tensor,
    scores: Tensor,
    importance: Tensor,
    *,
    start: Sequence[int],
    flip: Sequence[int],
    softmax: bool,
    fresh: bool = False,
) -> None:
    """Add to `sums` (K, dz, dy, dx); more in `op.window_accumulate`."""
    part = scores.to(sums).flip([axis + 1 for axis in flip])
    weighed = (part.softmax(0) if softmax else part) * importance
    box = tuple(slice(at, at + n) for at, n in zip(start, sums.shape[1:], strict=True))
    if fresh:
        sums.zero_()
    sums += weighed[(slice(None), *box)]


def window_argmax(scores: Tensor, steps: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Labels of the resampled `scores` (K, d, h, w), and whether all best scores are finite."""
    volumes = scores
    for axis, (lower, upper, weight) in enumerate(steps):
        along = weight.to(volumes).view([-1 if other == axis else 1 for other in range(3)])
        low, high = (volumes.index_select(axis + 1, index.to(scores.device)) for index in (lower, upper))
        volumes = (1 - along) * low + along * high
    best = volumes.amax(0)
    numbers = torch.arange(len(scores), device=scores.device).view(-1, 1, 1, 1)
    labels = torch.where(volumes == best, numbers, len(scores) - 1).amin(0)
    return labels.to(torch.uint8 if len(scores) <= 256 else torch.int32), torch.isfinite(best).all()
