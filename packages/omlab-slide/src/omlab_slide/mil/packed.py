"""Bags of different sizes in one tensor: their rows one after another, and where each bag begins.

Slides differ a hundredfold in their number of patches: padding would be mostly padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Packed:
    """The rows of B bags.

    Attributes:
        features: (sum N, D).
        offsets: (B + 1,) int64; bag b has the rows `offsets[b]` to `offsets[b + 1]`.

    Raises `ValueError` where the offsets do not divide the rows.
    """

    features: Tensor
    offsets: Tensor

    def __post_init__(self) -> None:
        check_offsets(self.features, self.offsets)

    @classmethod
    def of(cls, bags: Sequence[Tensor]) -> Packed:
        """Pack bags (N, D), of any N.

        Raises `ValueError` where there is none, or they have different D.
        """
        widths = sorted({bag.shape[-1] for bag in bags})
        if len(widths) != 1 or any(bag.ndim != 2 for bag in bags):
            raise ValueError(f"Bags (N, D) of one D are packed, not {[tuple(bag.shape) for bag in bags]}.")
        lengths = torch.tensor([0, *(len(bag) for bag in bags)], dtype=torch.int64, device=bags[0].device)
        return cls(features=torch.cat(list(bags)), offsets=lengths.cumsum(0))

    def __len__(self) -> int:
        return len(self.offsets) - 1


def check_offsets(features: Tensor, offsets: Tensor) -> None:
    """Raise `ValueError` where `offsets` (B + 1,) cannot be those of `features` (sum N, D).

    Their values are not looked at: on a GPU that would wait for it.
    """
    if features.ndim != 2 or offsets.ndim != 1 or offsets.dtype != torch.int64 or len(offsets) < 2:
        raise ValueError(
            f"Packed bags have features (sum N, D) and int64 offsets (B + 1,), not {tuple(features.shape)} and "
            f"{tuple(offsets.shape)} of {offsets.dtype}."
        )


def spans(offsets: Tensor) -> Iterator[slice]:
    """The rows of each bag; waits for a GPU once."""
    return (slice(begin, end) for begin, end in pairwise(offsets.tolist()))
