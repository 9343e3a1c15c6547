"""A segmentation that is carried from slice to slice of a volume: where it goes, and what the next slice is asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Front:
    """Where the carrying of an object stands: the slice `at`, going in `direction` (1 or -1) as far as `last`."""

    object: int
    at: int
    direction: int
    last: int

    @property
    def ends(self) -> bool:
        """Whether there is no further slice."""
        return self.at == self.last

    def on(self) -> Front:
        """One slice further."""
        return Front(object=self.object, at=self.at + self.direction, direction=self.direction, last=self.last)


def fronts_of(seeds: Collection[int], *, slices: int, object: int) -> list[Front]:
    """From each slice that was prompted outwards, and between two of them half the way from each.

    Args:
        seeds: Slices that were prompted.
        slices: Slices of the volume.
        object: Which object it is.
    """
    ordered = sorted(set(seeds))
    fronts = []
    for number, seed in enumerate(ordered):
        before, after = ordered[number - 1 : number], ordered[number + 1 : number + 2]
        down = (before[0] + seed) // 2 + 1 if before else 0
        up = (seed + after[0]) // 2 if after else slices - 1
        fronts += [
            Front(object=object, at=seed, direction=-1, last=down),
            Front(object=object, at=seed, direction=1, last=up),
        ]
    return [front for front in fronts if not front.ends]


def box_around(logits: Tensor) -> Tensor | None:
    """The box (4,) x0, y0, x1, y1 around the pixels (S, S) of a mask, its far ends exclusive; None: there is none."""
    mask = logits > 0
    rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
    if not len(rows):
        return None
    corners = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return torch.stack(corners).float()
