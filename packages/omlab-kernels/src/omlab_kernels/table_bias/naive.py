"""The specification of attention with a looked-up relative position: every score on its own, autograd.

With a table T of (2 H - 1)(2 W - 1) rows for an H x W grid of tokens, one column a head,

    score(i, j) = scale * q_i . k_j + T[(y_i - y_j + H - 1) (2 W - 1) + (x_i - x_j + W - 1)]
    out(i)      = softmax over j of score(i, .) times v

Where a class token comes first, three rows follow in the table: class token to patch, patch to class token, class token
to itself. Source: Bao et al., BEiT, ICLR 2022; Liu et al., Swin Transformer, ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def attention_table_bias(
    q: Tensor, k: Tensor, v: Tensor, table: Tensor, *, grid: Sequence[int], class_token: bool, scale: float
) -> Tensor:
    """Output (B, heads, N, c) for q, k, v (B, heads, N, c) and a table (rows, heads)."""
    height, width = grid
    places: list[tuple[int, int] | None] = [(y, x) for y in range(height) for x in range(width)]
    if class_token:
        places.insert(0, None)
    bias = torch.stack([torch.stack([table[_row(i, j, height, width)] for j in places]) for i in places])
    return (scale * q @ k.transpose(-1, -2) + bias.permute(2, 0, 1)).softmax(-1) @ v


def _row(query: tuple[int, int] | None, key: tuple[int, int] | None, height: int, width: int) -> int:
    patches = (2 * height - 1) * (2 * width - 1)
    if query is None:
        return patches + 2 if key is None else patches
    if key is None:
        return patches + 1
    return (query[0] - key[0] + height - 1) * (2 * width - 1) + query[1] - key[1] + width - 1
