"""Sums of cells that wait for the next row of windows: as bytes, where they are a small part of what they will be.

A window's Gaussian weight at its end is small beside that of the next window, whose middle lies there. Half precision
sums are parts of the blended probabilities, so that such a cell holds small numbers until that window comes: as bytes
between 0 and the largest of them, at most `SMALL`, they are off by at most SMALL / 510, about 2^-12, as much as half
precision rounds a probability near 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SMALL = 1 / 8
"""Sums up to here may rest."""
WORTH = 1 << 31
"""Bytes of sums that an image keeps at least, if they are to rest: it costs three more passes over them."""


class Resting(NamedTuple):
    """The sums of a cell as bytes (K, dz, dy, dx), and the number that the byte 255 stands for."""

    values: Tensor
    largest: Tensor


def resting(sums: Tensor) -> Resting | None:
    """Half precision sums (K, dz, dy, dx), none below 0, at rest; None where one is larger than `SMALL`."""
    largest = sums.amax().float()
    if not bool(largest <= SMALL):
        return None
    values = torch.empty_like(sums, dtype=torch.uint8)
    scale = 255 / largest.clamp_min(1e-12)
    for own, bytes_ in zip(sums, values, strict=True):  # class by class: no second copy in float32
        bytes_.copy_(own.float().mul_(scale).round_())
    return Resting(values, largest)


def woken(cell: Resting, sums: Tensor) -> None:
    """Write the sums of a cell at rest into `sums` (K, dz, dy, dx)."""
    for bytes_, own in zip(cell.values, sums, strict=True):
        own.copy_(bytes_.float().mul_(cell.largest / 255))


def small_from(weights: Tensor, starts: Sequence[int]) -> dict[int, int]:
    """For each window along an axis but the last, the voxel from which on it is a small part of all, if there is one.

    Args:
        weights: Of a window's voxels along the axis, through its middle.
        starts: First voxels of the windows along the axis, in order.
    """
    size, found = len(weights), {}
    for index, start in enumerate(starts[:-1]):
        own = torch.zeros(size)
        after = torch.zeros(size)
        for other, at in enumerate(starts):
            shift = at - start
            if abs(shift) < size:
                here = slice(max(0, shift), min(size, size + shift))
                there = slice(max(0, -shift), min(size, size - shift))
                (own if other <= index else after)[here] += weights[there]
        large = torch.nonzero(own > 0.98 * SMALL * (own + after))  # less than SMALL: sums are rounded
        first = int(large[-1]) + 1 if len(large) else 0
        if starts[index + 1] - start < first < size:
            found[index] = start + first
    return found
