"""The specification of Volume Fusion: a loop over the blocks.

A grid of blocks of size `block` starts at `offset`; block (a, b, c) has the class n = classes[a, b, c] of 0..K. In it

    label = n,  fused = w first + (1 - w) second,  w = n / K

and outside the grid label = 0, fused = second. Source: Wang et al., MIS-FM, arXiv 2306.16925.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def volume_fusion(
    first: Tensor, second: Tensor, classes: Tensor, *, block: Sequence[int], offset: Sequence[int], count: int
) -> tuple[Tensor, Tensor]:
    """Fused (C, D, H, W) and labels (D, H, W) in uint8; `classes` (a, b, c) integers of 0..`count`."""
    fused = second.clone()
    labels = torch.zeros(first.shape[1:], dtype=torch.uint8, device=first.device)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in classes.shape)).tolist():
        number = int(classes[tuple(place)])
        part = tuple(
            slice(start + step * size, start + (step + 1) * size)
            for start, step, size in zip(offset, place, block, strict=True)
        )
        weight = number / count
        fused[(slice(None), *part)] = weight * first[(slice(None), *part)] + (1 - weight) * second[(slice(None), *part)]
        labels[part] = number
    return fused, labels
