"""The specification: windows as they are written down, by padding, rolling, masking and rolling back.

Tokens on a (D, H, W) grid are padded with zeros at the end of each axis to multiples of the window w, and rolled by
-shift. In each window of w^3 tokens

    score(i, j) = c^-0.5 q_i . k_j + T[row(i - j)] + mask(i, j),    out(i) = softmax over j of score(i, .) times v

where mask is -100 between tokens that the roll brought together (only where there is a shift). Padded tokens are keys
and values like any other: as the padding comes after the norm, theirs are the biases of k and v. The row of an offset
(dz, dy, dx) is

    (dz + w - 1) (3 w - 1) + (dy + w - 1) (2 w - 1) + (dx + w - 1)

A table of (2 w - 1)^3 rows would need (2 w - 1)^2 as the first factor; the published weights were trained with 3 w - 1,
so that offsets share rows and most rows are never used.

Source: Liu et al., Swin Transformer, ICCV 2021; Wang et al., MIS-FM, arXiv 2306.16925, and its code (the factor).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from omlab_misfm.levels import Triple

MASKED = -100.0


def table_rows(window: int) -> int:
    """How many rows the table of a window has."""
    return (2 * window - 1) ** 3


def row_of(offset: Tensor, window: int) -> Tensor:
    """The row of the table for offsets (..., 3) of query from key."""
    dz, dy, dx = (offset + window - 1).unbind(-1)
    return dz * (3 * window - 1) + dy * (2 * window - 1) + dx


def relative_rows(window: int) -> Tensor:
    """The row for each pair of tokens of a window, (w^3, w^3) int64: queries down, keys across."""
    along = torch.arange(window)
    places = torch.cartesian_prod(along, along, along)
    return row_of(places[:, None] - places, window)


def shifted_window_attention(
    tokens: Tensor,
    *,
    weight: Tensor,
    bias: Tensor,
    table: Tensor,
    grid: Triple,
    window: int,
    shift: int,
    heads: int,
    dropout: float = 0.0,
) -> Tensor:
    """What attention gives before its output projection, (B, N, C).

    Args:
        tokens: (B, N, C), normalised, on the grid with x running fastest.
        weight: (3 C, C), of q, k and v.
        bias: (3 C,).
        table: (rows, heads).
        grid: (D, H, W) with D H W = N.
        window: w.
        shift: 0, or less than w.
        heads: How many.
        dropout: Share of the softmax that is dropped.
    """
    batch, _, width = tokens.shape
    short = [-size % window for size in grid]
    x = tokens.view(batch, *grid, width)
    x = functional.pad(x, (0, 0, 0, short[2], 0, short[1], 0, short[0]))
    padded = tuple(x.shape[1:4])
    x = x.roll((-shift,) * 3, (1, 2, 3))
    windows = _partition(x, window)  # (B, windows, w^3, C)
    qkv = functional.linear(windows, weight, bias).view(*windows.shape[:3], 3, heads, -1)
    q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)
    scores = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)
    scores = scores + table[relative_rows(window)].permute(2, 0, 1)
    if shift:
        scores = scores + _mask(padded, window=window, shift=shift).to(scores)[:, None]
    x = (functional.dropout(scores.softmax(-1), dropout) @ v).transpose(2, 3).flatten(-2)
    x = _whole(x, padded, window=window)
    x = x.roll((shift,) * 3, (1, 2, 3))
    return x[:, : grid[0], : grid[1], : grid[2]].reshape(tokens.shape)


def _partition(x: Tensor, window: int) -> Tensor:
    """(B, D, H, W, C) -> (B, windows, w^3, C)."""
    batch, depth, height, width, channels = x.shape
    x = x.view(batch, depth // window, window, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, -1, window**3, channels)


def _whole(windows: Tensor, size: tuple[int, ...], *, window: int) -> Tensor:
    """The reverse of `_partition`."""
    counts = [length // window for length in size]
    x = windows.view(len(windows), *counts, window, window, window, -1)
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(len(windows), *size, -1)


def _mask(size: tuple[int, ...], *, window: int, shift: int) -> Tensor:
    """(windows, w^3, w^3): -100 between tokens of different regions of the rolled grid."""
    region = torch.zeros(size)
    number = 0
    slabs = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    for z in slabs:
        for y in slabs:
            for x in slabs:
                region[z, y, x] = number
                number += 1
    of = _partition(region[None, ..., None], window)[0, :, :, 0]
    return torch.where(of[:, :, None] == of[:, None], 0.0, MASKED)
