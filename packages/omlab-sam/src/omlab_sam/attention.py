"""Attention over windows of a 2-D grid with a decomposed relative position, and padding that costs nothing.

    score(query (a, b), key (i, j)) = E ** -0.5 * q.k + q.Th[a - i + K - 1] + q.Tw[b - j + K - 1]

A window of side K that reaches beyond the grid is, as published, filled up with zeros after the norm: its padded
positions have the keys and values of the projection's biases and take part in the softmax. They all have the same key
and value, so here they are **one** further key, the sink, whose logit is E ** -0.5 * q.bk plus the logarithm of the
summed exponentials of their position terms: a product of sums over rows and over columns. Exact and differentiable.

Source: Kirillov et al., Segment anything, ICCV 2023; Li et al., MViTv2, CVPR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omlab_kernels import attention_relpos, relpos_factors, resize_relpos_table

Factors = list[tuple[Tensor, Tensor]]
Pair = tuple[int, int]


class RelativeAttention(nn.Module):
    """Multi-head attention in windows of side `window`, or (0) over the whole grid.

    Its tables have `2 * side - 1` rows, with `side` that of the window or, for global attention, of the grid that the
    network was made for; on another grid they are resized along their rows.
    """

    def __init__(self, dim: int, *, heads: int, window: int, side: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"The width {dim} is not a multiple of the {heads} heads.")
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(dim=3)  # (B, H, W, heads, E)
        height, width = x.shape[1:3]
        if not self.window:
            q, k, v = (_windows(part, (height, width)) for part in (q, k, v))
            factors = relpos_factors(q, (self.rel_pos_h, self.rel_pos_w), grid=(height, width))
            return self._projected(_grid(attention_relpos(q, k, v, factors), x.shape, (height, width)))
        rows = []
        for top, bottom, tall in _spans(height, self.window):
            parts = []
            for left, right, wide in _spans(width, self.window):
                box = (slice(None), slice(top, bottom), slice(left, right))
                done = self._window(*(_windows(part[box], (tall, wide)) for part in (q, k, v)), real=(tall, wide))
                parts.append(_grid(done, q[box].shape, (tall, wide)))
            rows.append(torch.cat(parts, dim=2))
        return self._projected(torch.cat(rows, dim=1))

    def _projected(self, x: Tensor) -> Tensor:
        projected: Tensor = self.proj(x)
        return projected

    def _window(self, q: Tensor, k: Tensor, v: Tensor, *, real: Pair) -> Tensor:
        """Windows (n, heads, a * b, E) of `real` = (a, b) tokens inside the grid -> their outputs."""
        factors, mass = self._factors(q, real)
        if mass is None:
            return attention_relpos(q, k, v, factors)
        _, pad_key, pad_value = torch.unflatten(self.qkv.bias, 0, (3, self.heads, -1)).unbind()
        own = torch.einsum("nhqe,he->nhq", q, pad_key.to(q.dtype)) * q.shape[-1] ** -0.5
        return attention_relpos(q, k, v, factors, sink_logit=own + mass, sink_value=pad_value)

    def _factors(self, q: Tensor, real: Pair) -> tuple[Factors, Tensor | None]:
        """The factors of the real keys, and the log-mass (n, heads, N) of the position terms over the padded ones."""
        tables = [resize_relpos_table(table, self.window) for table in (self.rel_pos_h, self.rel_pos_w)]
        lines = torch.unflatten(q, 2, real)
        down = torch.einsum("nhabe,aie->nhabi", lines, _rows(tables[0], real[0], self.window)).flatten(2, 3)
        along = torch.einsum("nhabe,bje->nhabj", lines, _rows(tables[1], real[1], self.window)).flatten(2, 3)
        number = torch.arange(real[0] * real[1], device=q.device)
        factors = [(down[..., : real[0]], number // real[1]), (along[..., : real[1]], number % real[1])]
        masses = []
        if real[0] < self.window:  # padded rows, all their columns
            masses.append(down[..., real[0] :].logsumexp(dim=-1) + along.logsumexp(dim=-1))
        if real[1] < self.window:  # padded columns of real rows
            masses.append(down[..., : real[0]].logsumexp(dim=-1) + along[..., real[1] :].logsumexp(dim=-1))
        return factors, torch.stack(masses).logsumexp(dim=0) if masses else None


def _rows(table: Tensor, queries: int, keys: int) -> Tensor:
    """(queries, keys, E): row (query - key + keys - 1) of a table of 2 * keys - 1 rows."""
    query = torch.arange(queries, device=table.device)[:, None]
    key = torch.arange(keys, device=table.device)[None]
    return table[query - key + keys - 1]


def _spans(size: int, side: int) -> list[tuple[int, int, int]]:
    """Begin, end and extent of the whole windows along an axis, and of what is left for the last one."""
    whole = size // side * side
    return [span for span in ((0, whole, side), (whole, size, size - whole)) if span[0] < span[1]]


def _windows(x: Tensor, real: Pair) -> Tensor:
    """(B, H, W, heads, E) -> (B * windows, heads, a * b, E)."""
    x = torch.unflatten(torch.unflatten(x, 2, (-1, real[1])), 1, (-1, real[0]))
    return x.permute(0, 1, 3, 5, 2, 4, 6).flatten(0, 2).flatten(2, 3)


def _grid(x: Tensor, shape: torch.Size, real: Pair) -> Tensor:
    """The reverse of `_windows` for `shape` (B, H, W, ...): (B, H, W, heads * E)."""
    counts = (shape[0], shape[1] // real[0], shape[2] // real[1])
    x = torch.unflatten(torch.unflatten(x, 2, real), 0, counts)
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(*shape[:3], -1)
