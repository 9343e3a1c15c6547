"""Volume Fusion: what is drawn for it. The fusing itself is `omlab_kernels.volume_fusion`.

Blocks of one patch are mixed into another with weights of 0, 1/K, ..., 1, and the network is to tell which weight each
voxel got. Source: Wang et al., IEEE TIP 34 (2025), and PyMIC's code for the order of the draws; the older forms are
those of arXiv 2306.16925 (overlapping boxes) and PyMIC (blocks taken from other places).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from omlab_misfm.draws import Draws
from omlab_misfm.levels import Triple

CLASSES = 5
"""Weights of 0 to 1 in quarters."""
FOREGROUND = 0.7
"""Share of the blocks that are mixed in."""
SMALLEST = (5 / 64, 8 / 128, 8 / 128)
"""The shortest side of a block on each axis, as a share of the patch: 5, 8, 8 voxels of 64, 128, 128."""
LARGEST = (20 / 64, 32 / 128, 32 / 128)
"""The longest: 20, 32, 32 voxels."""

Box = tuple[Triple, Triple, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Blocks:
    """A grid of blocks.

    Attributes:
        block: Voxels of a block on each axis.
        offset: Voxels before the grid.
        classes: (a, b, c) uint8; 0 is background.
        sources: (a, b, c) int64, for each block the number of the one that is mixed into it; None: itself.
    """

    block: Triple
    offset: Triple
    classes: Tensor
    sources: Tensor | None = None


def block_range(size: Sequence[int]) -> tuple[Triple, Triple]:
    """The shortest and longest sides of blocks for patches of `size`, in proportion to the published ones."""
    shortest = [max(1, round(n * share)) for n, share in zip(size, SMALLEST, strict=True)]
    longest = [max(low, round(n * share)) for n, share, low in zip(size, LARGEST, shortest, strict=True)]
    return _triple(iter(shortest)), _triple(iter(longest))


def draw_blocks(
    size: Sequence[int],
    draws: Draws,
    *,
    smallest: Sequence[int],
    largest: Sequence[int],
    classes: int = CLASSES,
    foreground: float = FOREGROUND,
) -> Blocks:
    """Blocks for patches of `size`: exactly int(n x `foreground`) of n are mixed in, each with any class but 0.

    Drawn: the sides of a block on z, y, x; the offsets; a shuffle of which blocks; the class of each, in order.
    """
    block, offset, cells = _grid(size, draws, smallest=smallest, largest=largest)
    count = prod(cells)
    chosen = [1] * int(count * foreground)
    chosen += [0] * (count - len(chosen))
    draws.shuffle(chosen)
    numbers = [draws.randint(1, classes - 1) if one else 0 for one in chosen]
    return Blocks(block=block, offset=offset, classes=torch.tensor(numbers, dtype=torch.uint8).view(cells))


def draw_shuffled_blocks(
    size: Sequence[int],
    draws: Draws,
    *,
    smallest: Sequence[int],
    largest: Sequence[int],
    classes: int = CLASSES,
    foreground: float = FOREGROUND,
) -> Blocks:
    """As `draw_blocks`, where what is mixed into a block comes from any other place.

    Drawn: sides, offsets; a shuffle of the places to take from; one of those to mix into; the classes in that order.
    """
    block, offset, cells = _grid(size, draws, smallest=smallest, largest=largest)
    places = [list(place) for place in torch.cartesian_prod(*(torch.arange(n) for n in cells)).tolist()]
    taken, goals = list(places), list(places)
    draws.shuffle(taken)
    draws.shuffle(goals)
    numbers = torch.zeros(cells, dtype=torch.uint8)
    sources = torch.arange(len(places)).view(cells)
    for (a, b, c), (z, y, x) in list(zip(taken, goals, strict=True))[: int(len(places) * foreground)]:
        numbers[z, y, x] = draws.randint(1, classes - 1)
        sources[z, y, x] = (a * cells[1] + b) * cells[2] + c
    return Blocks(block=block, offset=offset, classes=numbers, sources=sources)


def draw_boxes(
    size: Sequence[int],
    draws: Draws,
    *,
    count: tuple[int, int],
    smallest: Sequence[int],
    largest: Sequence[int],
    classes: int = CLASSES,
) -> list[Box]:
    """The first published form: (centre, size, class) of boxes that may overlap, for `volume_fusion_boxes`.

    Drawn: how many; for each its sides on z, y, x, its centre, its class.
    """
    boxes = []
    for _ in range(draws.randint(*count)):
        sides = _triple(draws.randint(low, high) for low, high in zip(smallest, largest, strict=True))
        centre = _triple(draws.randint(0, n - 1) for n in size)
        boxes.append((centre, sides, draws.randint(1, classes - 1)))
    return boxes


def _grid(
    size: Sequence[int], draws: Draws, *, smallest: Sequence[int], largest: Sequence[int]
) -> tuple[Triple, Triple, Triple]:
    block = _triple(draws.randint(low, high) for low, high in zip(smallest, largest, strict=True))
    offset = _triple(draws.randint(0, n % side) for n, side in zip(size, block, strict=True))
    return block, offset, _triple(n // side for n, side in zip(size, block, strict=True))


def _triple(values: Iterator[int]) -> Triple:
    z, y, x = values
    return z, y, x
