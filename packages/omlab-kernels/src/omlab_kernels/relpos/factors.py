"""The thin factors of the textbook relative position, in 2-D, 3-D or on any number of axes.

With the (2 n_a - 1, c) table R^a of axis a, a token's coordinates i_a, and unscaled queries,

    bias(i, j) = sum_a q_i . R^a[i_a - j_a + n_a - 1],    factor^a[i, t] = q_i . R^a[i_a - t + n_a - 1]

Source: Li et al., MViTv2, CVPR 2022; Kirillov et al., Segment anything, ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def resize_relpos_table(table: Tensor, size: int) -> Tensor:
    """A (rows, c) table for an axis of `size` tokens: interpolated linearly, row centres, to 2 size - 1 rows."""
    if table.ndim != 2 or not len(table) or size < 1:
        raise ValueError(f"A table is (rows, c) and an axis has at least one token, not {tuple(table.shape)}, {size}.")
    rows = 2 * size - 1
    if len(table) == rows:
        return table
    return functional.interpolate(table.t()[None], size=rows, mode="linear", align_corners=False)[0].t()


def relpos_factors(q: Tensor, tables: Sequence[Tensor], *, grid: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """What `attention_relpos` takes as `factors` for tokens on a grid; differentiable in `q` and the tables.

    Args:
        q: (B, heads, N, c), unscaled; N tokens of the grid, the last axis running fastest.
        tables: For each axis (2 n - 1, c), shared by the heads; one of another length is resized.
        grid: Tokens n on each axis, such as (H, W) or (D, H, W).

    Returns:
        For each axis the pair ((B, heads, N, n) factor, (N,) coordinate of each key).

    Raises:
        ValueError: Queries, tables and grid do not fit.
    """
    tokens = torch.Size(grid).numel()
    shape = tuple(q.shape)
    if q.ndim != 4 or q.shape[2] != tokens or len(tables) != len(grid) or not 1 <= len(grid) <= 4:
        raise ValueError(
            f"Queries (B, heads, N, c) need a grid of N, a table an axis: {shape}, {tuple(grid)}, {len(tables)}."
        )
    lines = q.reshape(*q.shape[:2], *grid, q.shape[3])
    axes = "wxyz"[: len(grid)]
    pairs = []
    for axis, (size, table) in enumerate(zip(grid, tables, strict=True)):
        if table.ndim != 2 or table.shape[1] != q.shape[3]:
            raise ValueError(
                f"A table for queries of {q.shape[3]} numbers is (rows, {q.shape[3]}), not {tuple(table.shape)}."
            )
        steps = torch.arange(size, device=q.device)
        rows = resize_relpos_table(table, size)[steps[:, None] - steps + size - 1]  # (query, key, c)
        factor = torch.einsum(f"bh{axes}c,{axes[axis]}jc->bh{axes}j", lines, rows.to(q.dtype)).flatten(2, 1 + len(grid))
        along = [-1 if other == axis else 1 for other in range(len(grid))]
        pairs.append((factor, steps.view(along).expand(list(grid)).flatten()))
    return pairs
