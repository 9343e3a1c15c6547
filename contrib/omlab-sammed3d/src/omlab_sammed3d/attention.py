"""Attention over windows of a 3-D grid, with a decomposed relative position and padding that costs nothing.

A window of side K that reaches beyond the grid is, upstream, filled up with zeros after the norm: its padded
positions have the query, key and value of the projection's biases and take part in the softmax. Here they are
**one** further key, the sink, with their common log-mass as its logit and the value bias as its value: exact,
differentiable, and with positive terms only before each logarithm. No tensor of N x N biases is ever made: the
position terms stay thin factors, which `omlab_kernels.attention_relpos` adds to some scores at a time.

Two forms, told apart by `rel_pos` (a, b, c: a query's place in its window; i, j, l: a key's; Td, Th, Tw: tables):

    textbook    q[abc].Td[a-i] + q[abc].Th[b-j] + q[abc].Tw[c-l]
    sam-med3d   q[abc].Td[a-l] + q[abi].Th[b-l] + q[abj].Tw[j-l]   the published weights were trained with this one
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_kernels import attention_relpos

RelPos = Literal["sam-med3d", "textbook"]
Triple = tuple[int, int, int]
Factors = list[tuple[Tensor, Tensor]]
"""Pairs of numbers (n, heads, N, columns) and each key's column (N,), as `attention_relpos` takes them."""


def sam_med3d_factors(
    q: Tensor, tables: Sequence[Tensor], *, side: int, pad_query: Tensor
) -> tuple[Factors, Tensor | None]:
    """The factors of SAM-Med3D's form, and the log-mass of the position terms over all padded keys.

    Args:
        q: (n, heads, D, H, W, E): the real queries of windows, not scaled.
        tables: Td, Th, Tw, each (2 * side - 1, E).
        side: Side of the window, at least D, H and W.
        pad_query: (heads, E): the query of padded positions.

    Returns:
        Factors for `attention_relpos`, and the mass (n, heads, D, H, W), or None where nothing is padded.
    """
    depth, height, width = q.shape[2:5]
    along_w = torch.cat((q, pad_query[:, None, None, None].expand(*q.shape[:4], side - width, -1).to(q.dtype)), dim=4)
    u = torch.einsum("nhabcx,alx->nhabcl", q, _rows(tables[0], depth, side))
    f = torch.einsum("nhabix,blx->nhabil", along_w, _rows(tables[1], height, side))
    g = torch.einsum("nhabjx,jlx->nhabjl", along_w, _rows(tables[2], side, side))
    i, j, key = _places((depth, height, width), device=q.device)
    factors = [
        (u[..., :width].flatten(2, 4), key),
        (_for_each_of_a_line(f[..., :depth, :width], width), i * width + key),
        (_for_each_of_a_line(g[..., :height, :width], width), j * width + key),
    ]
    if depth == height == width == side:
        return factors, None
    every_f, every_g = f.logsumexp(dim=4), g.logsumexp(dim=4)  # (n, heads, D, H, l)
    terms = []  # of the real l: padded j with real i, padded i with any j
    if height < side:
        terms.append(f[..., :depth, :].logsumexp(dim=4) + g[..., height:, :].logsumexp(dim=4))
    if depth < side:
        terms.append(f[..., depth:, :].logsumexp(dim=4) + every_g)
    parts = []
    if terms:
        mass = terms[0] if len(terms) == 1 else torch.logaddexp(*terms)
        parts.append((u + mass[:, :, :, :, None])[..., :width])
    if width < side:
        parts.append((u + (every_f + every_g)[:, :, :, :, None])[..., width:])
    return factors, torch.cat(parts, dim=-1).logsumexp(dim=-1)


def textbook_factors(q: Tensor, tables: Sequence[Tensor], *, sides: Triple) -> tuple[Factors, Tensor | None]:
    """The factors of the textbook form, and the log-mass of the position terms over all padded keys.

    Arguments and results are those of `sam_med3d_factors`, with a side for each axis.
    """
    real = q.shape[2:5]
    terms = [
        torch.einsum(rule, q, _rows(table, n, side))
        for rule, table, n, side in zip(
            ("nhabcx,aix->nhabci", "nhabcx,bjx->nhabcj", "nhabcx,clx->nhabcl"), tables, real, sides, strict=True
        )
    ]
    places = _places((real[0], real[1], real[2]), device=q.device)
    factors = [(term[..., :n].flatten(2, 4), place) for term, n, place in zip(terms, real, places, strict=True)]
    masses = []
    inner = [term[..., :n].logsumexp(dim=-1) for term, n in zip(terms, real, strict=True)]
    every = [term.logsumexp(dim=-1) for term in terms]
    for axis, (n, side) in enumerate(zip(real, sides, strict=True)):
        if n < side:  # real on the axes before, padded on this one, anywhere on the axes after: disjoint sets
            padded = terms[axis][..., n:].logsumexp(dim=-1)
            masses.append(sum(inner[:axis], padded) + sum(every[axis + 1 :], torch.zeros_like(padded)))
    return factors, torch.stack(masses).logsumexp(dim=0) if masses else None


class RelativeAttention(nn.Module):
    """Multi-head attention in windows of side `window` (0: the whole grid) with a decomposed relative position.

    `sides` is the window or grid that the tables are made for, with 2 * side - 1 rows each; `rows` says how many they
    have where they come from elsewhere. For a window or grid of another size they are resized along their rows.
    """

    def __init__(
        self, dim: int, *, heads: int, window: int, sides: Triple, rel_pos: RelPos, rows: Triple | None = None
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"The width {dim} is not a multiple of the {heads} heads.")
        if rows is not None and min(rows) < 1:
            raise ValueError(f"Tables of relative positions have one row or more, not {rows}.")
        self.heads, self.window, self.rel_pos = heads, window, rel_pos
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        depth, height, width = rows or [2 * side - 1 for side in sides]
        self.rel_pos_d = nn.Parameter(torch.zeros(depth, dim // heads))
        self.rel_pos_h = nn.Parameter(torch.zeros(height, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(width, dim // heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C) -> (B, D, H, W, C)."""
        sides = self.sides(x.shape[1:4])
        tables = self.tables(sides)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(dim=4)  # (B, D, H, W, heads, E)
        output = torch.empty_like(q)
        axes = [_spans(n, side) for n, side in zip(x.shape[1:4], sides, strict=True)]
        for spans in product(*axes):
            box = (slice(None), *(slice(start, stop) for start, stop, _ in spans))
            real = (spans[0][2], spans[1][2], spans[2][2])
            done = self._attend(*(_windows(t[box], real) for t in (q, k, v)), tables=tables, sides=sides)
            output[box] = _unwindowed(done, output[box].shape)
        projected: Tensor = self.proj(output.flatten(-2))
        return projected

    def sides(self, grid: Sequence[int]) -> Triple:
        """Sides of the windows on a grid. Raises `ValueError` where SAM-Med3D's form has no meaning there."""
        sides = (self.window,) * 3 if self.window else (grid[0], grid[1], grid[2])
        if self.rel_pos == "sam-med3d" and len(set(sides)) > 1:
            raise ValueError(f"rel_pos 'sam-med3d' needs windows and grids of equal sides, not {tuple(sides)}.")
        return sides

    def tables(self, sides: Triple) -> list[Tensor]:
        """The three tables with 2 * side - 1 rows each."""
        own = (self.rel_pos_d, self.rel_pos_h, self.rel_pos_w)
        return [_resized(table, 2 * side - 1) for table, side in zip(own, sides, strict=True)]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, *, tables: Sequence[Tensor], sides: Triple) -> Tensor:
        """Windows (n, heads, D, H, W, E) of real tokens -> their outputs, of the same shape."""
        pad_query, pad_key, pad_value = torch.unflatten(self.qkv.bias, 0, (3, self.heads, -1)).unbind()
        if self.rel_pos == "sam-med3d":
            factors, mass = sam_med3d_factors(q, tables, side=sides[0], pad_query=pad_query)
        else:
            factors, mass = textbook_factors(q, tables, sides=sides)
        sink = None
        if mass is not None:
            own = torch.einsum("nhabcx,hx->nhabc", q, pad_key.to(q.dtype)) * q.shape[-1] ** -0.5
            sink = (own + mass).flatten(2)
        done = attention_relpos(
            q.flatten(2, 4),
            k.flatten(2, 4),
            v.flatten(2, 4),
            factors,
            sink_logit=sink,
            sink_value=None if sink is None else pad_value,
        )
        return torch.unflatten(done, 2, q.shape[2:5])


def _places(real: Triple, *, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of each key of a window its index along each axis, (N,)."""
    number = torch.arange(real[0] * real[1] * real[2], device=device)
    return number // (real[1] * real[2]), number // real[2] % real[1], number % real[2]


def _for_each_of_a_line(x: Tensor, count: int) -> Tensor:
    """(n, heads, D, H, i, l), the same for all queries of a line -> (n, heads, D * H * count, i * l)."""
    return x.flatten(4)[:, :, :, :, None].expand(-1, -1, -1, -1, count, -1).flatten(2, 4)


def _rows(table: Tensor, queries: int, keys: int) -> Tensor:
    """(queries, keys, E): row (query - key + keys - 1) of a table of 2 * keys - 1 rows."""
    query = torch.arange(queries, device=table.device)[:, None]
    key = torch.arange(keys, device=table.device)[None]
    return table[query - key + keys - 1]


def _resized(table: Tensor, rows: int) -> Tensor:
    if len(table) == rows:
        return table
    return functional.interpolate(table.T[None], size=rows, mode="linear", align_corners=False)[0].T


def _spans(size: int, side: int) -> list[tuple[int, int, int]]:
    """Begin, end and extent of the whole windows along an axis, and of what is left for the last one."""
    whole = size // side * side
    return [span for span in ((0, whole, side), (whole, size, size - whole)) if span[0] < span[1]]


def _windows(x: Tensor, real: Triple) -> Tensor:
    """(B, D, H, W, heads, E) -> (B * windows, heads, *real, E)."""
    for axis in (3, 2, 1):  # the last one first, so that the others keep their places
        x = torch.unflatten(x, axis, (-1, real[axis - 1]))
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6, 8).flatten(0, 3)


def _unwindowed(x: Tensor, shape: torch.Size) -> Tensor:
    """The reverse of `_windows`; `shape` is (B, D, H, W, heads, E)."""
    counts = [n // real for n, real in zip(shape[1:4], x.shape[2:5], strict=True)]
    return torch.unflatten(x, 0, (shape[0], *counts)).permute(0, 1, 5, 2, 6, 3, 7, 4, 8).reshape(shape)
