"""Which tokens share a window: real tokens only, in pieces of one shape, each with its padding counted.

A roll, a window and a mask along an axis come to this: the axis is cut at shift, shift + w, shift + 2 w, ... (or at w,
2 w, ...), and nothing reaches over a cut. So the pieces of an axis have at most three lengths (the first, those in the
middle, the last, which may hold padding), and the windows of a volume at most 27 shapes.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from omlab_misfm.levels import Triple
from omlab_misfm.shifted_windows.naive import row_of


@dataclass(frozen=True)
class Part:
    """Windows of one shape.

    Attributes:
        windows: How many.
        tokens: Real tokens of each.
        padding: Padded tokens of each.
    """

    windows: int
    tokens: int
    padding: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """How tokens are taken apart into windows and put back.

    Attributes:
        parts: The windows by their shapes.
        order: (B N,) where in (B N, C) each token of the windows lies: part by part, then sample, then window.
        back: (B N,), the reverse.
        rows: Of the table, int64, for each part its (tokens, tokens) and then its (tokens, padding) pairs, queries
            first; one after the other.
    """

    parts: tuple[Part, ...]
    order: Tensor
    back: Tensor
    rows: Tensor


@lru_cache(maxsize=64)
def layout_of(*, grid: Triple, window: int, shift: int, batch: int, device: torch.device) -> Layout:
    """The layout of `batch` grids of tokens (D, H, W).

    Raises:
        ValueError: The window is below 1, or the shift is not in 0..window - 1.
    """
    if window < 1 or not 0 <= shift < window:
        raise ValueError(f"A window of {window} tokens cannot be shifted by {shift}.")
    with torch.inference_mode(mode=False):  # what is kept may meet a later call that takes gradients
        return _laid_out(grid, window=window, shift=shift, batch=batch, device=device)


def _laid_out(grid: Triple, *, window: int, shift: int, batch: int, device: torch.device) -> Layout:
    places = torch.arange(grid[0] * grid[1] * grid[2]).view(grid)
    axes = [_pieces(size, window=window, shift=shift) for size in grid]
    parts, order, rows = [], [], []
    for shape in itertools.product(*(sorted(axis) for axis in axes)):
        real, whole = zip(*shape, strict=True)
        starts = itertools.product(*(axis[piece] for axis, piece in zip(axes, shape, strict=True)))
        taken = torch.stack([_box(places, start, real) for start in starts])
        inside, padding = _tokens_of(real, whole)
        parts.append(Part(windows=len(taken), tokens=len(inside), padding=len(padding)))
        order += [(taken + sample * places.numel()).flatten() for sample in range(batch)]
        rows += [row_of(inside[:, None] - others, window).flatten() for others in (inside, padding)]
    taken = torch.cat(order)
    back = torch.empty_like(taken)
    back[taken] = torch.arange(len(taken))
    return Layout(parts=tuple(parts), order=taken.to(device), back=back.to(device), rows=torch.cat(rows).to(device))


def _pieces(size: int, *, window: int, shift: int) -> dict[tuple[int, int], list[int]]:
    """Where the pieces of an axis begin, by their real and whole lengths; pieces of padding alone are left out."""
    padded = size + -size % window
    cuts = sorted({0, *range(shift, padded, window), padded})
    found = defaultdict(list)
    for start, stop in itertools.pairwise(cuts):
        if start < size:
            found[min(stop, size) - start, stop - start].append(start)
    return dict(found)


def _box(places: Tensor, start: Sequence[int], lengths: Sequence[int]) -> Tensor:
    z, y, x = (slice(first, first + n) for first, n in zip(start, lengths, strict=True))
    return places[z, y, x].flatten()


def _tokens_of(real: Sequence[int], whole: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Places (n, 3) of the real tokens of a window, and of the padded ones."""
    places = torch.cartesian_prod(*(torch.arange(length) for length in whole))
    inside = (places < torch.tensor(real)).all(-1)
    return places[inside], places[~inside]
