"""`attention_table_bias`: attention with a bias that is looked up by relative position, in plain algebra.

The bias is laid out for all pairs of tokens in one pass, heads first, and handed to PyTorch's fused attention. It does
not depend on the input, so that without gradients it is laid out once and kept (`LaidOutTable`): at 1025 tokens of a
ViT-B that was 45 % of a block's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.nn import functional


def table_rows(grid: Sequence[int], *, class_token: bool) -> int:
    """How many rows a table for an (H, W) grid of tokens has."""
    height, width = grid
    return (2 * height - 1) * (2 * width - 1) + (3 if class_token else 0)


def table_index(grid: Sequence[int], *, class_token: bool) -> Tensor:
    """The row of the table for each pair of tokens, (N, N) int64: queries down, keys across (`naive` has the rule).

    Args:
        grid: Tokens (H, W), x running fastest.
        class_token: Whether a class token comes before them.
    """
    height, width = grid
    y, x = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    rows = (y[:, None] - y + height - 1) * (2 * width - 1) + x[:, None] - x + width - 1
    if not class_token:
        return rows
    patches = table_rows(grid, class_token=False)
    index = rows.new_empty(1 + len(rows), 1 + len(rows))
    index[1:, 1:] = rows
    index[0], index[1:, 0], index[0, 0] = patches, patches + 1, patches + 2
    return index


def lay_out(table: Tensor, index: Tensor) -> Tensor:
    """The bias (heads, N, N) of a table (rows, heads) for the (N, N) rows of `index`; differentiable in the table."""
    return table.t().contiguous().index_select(1, index.flatten()).view(-1, *index.shape)


class LaidOutTable:
    """`lay_out`, kept for as long as the table stays as it is and no gradients are taken.

    It is seen when the table is replaced, moved or changed in place by any operation that autograd knows (a step of an
    optimiser, `load_state_dict`); a change through `.data` is not. A copy of a module starts without what was kept.
    """

    def __init__(self) -> None:
        self._kept: tuple[Any, Tensor] | None = None

    def __call__(self, table: Tensor, index: Tensor, *, dtype: torch.dtype) -> Tensor:
        """The bias (heads, N, N) in `dtype`."""
        if torch.is_grad_enabled() or table.is_inference() or torch.compiler.is_compiling():
            return lay_out(table.to(dtype), index)
        key = (table.data_ptr(), table._version, table.device, index.data_ptr(), dtype)
        if self._kept is not None and self._kept[0][0]() is table and self._kept[0][1] == key:
            return self._kept[1]
        with torch.inference_mode(mode=False):  # what is kept may meet a later call outside of inference mode
            bias = lay_out(table.detach().to(dtype), index)
        self._kept = ((ref(table), key), bias)
        return bias

    def __getstate__(self) -> dict[str, None]:
        return {"_kept": None}


def attention_table_bias(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, *, scale: float | None = None, dropout: float = 0.0
) -> Tensor:
    """Softmax of scale * q k' + bias over the keys, times the values.

    Args:
        q: (B, heads, N, c).
        k: (B, heads, N, c).
        v: (B, heads, N, c).
        bias: (heads, N, N), as `lay_out` or `LaidOutTable` gives it, in the type of q.
        scale: Left out: c ** -0.5.
        dropout: Share of the weights that is dropped.
    """
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=scale)
