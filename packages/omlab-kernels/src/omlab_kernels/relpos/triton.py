# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""Attention with thin bias factors in Triton: no matrix of scores in memory, no atomics.

The bias of a tile of scores is a product, as in `plain`: the rows of the factors times a table (M x columns) that holds
a 1 where a column concerns a key; so is the gradient by the factors. Both add into the products that are there anyway.
Columns go in blocks: one, or a wide one and a narrow tail; where there are more, the gradient of each block has
programs of its own, so that registers hold it. One kernel takes tiles of queries (output; gradients by q and the
factors), another tiles of keys (by k and v). Forward is one launch and backward two or three: at some hundred tokens it
is the launches that take the time.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels import tiles
from omlab_kernels.dispatch import misread, on_its_device

_SIZES = ["heads", "queries", "keys", "columns"]  # a kernel serves them all
_LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _place(heads, count, N: tl.constexpr):
    """First row of this program's tile, and its sample and head: tiles of a head follow each other on the one axis.

    Other axes of a grid end at 65,535, which windows times heads can pass.
    """
    tiles = tl.cdiv(count, N)
    outer = tl.program_id(0) // tiles
    return tl.program_id(0) % tiles * N, (outer // heads).to(tl.int64), (outer % heads).to(tl.int64)


@triton.jit
def _rows(base, b, h, first, count, sb, sh, sn, sc, N: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr):
    """Rows first.. of a (B, H, n, WIDTH) tensor, (N, C), zero beyond its ends."""
    n = first + tl.arange(0, N).to(tl.int64)[:, None]
    c = tl.arange(0, C).to(tl.int64)[None, :]
    return tl.load(base + b * sb + h * sh + n * sn + c * sc, mask=(n < count) & (c < WIDTH), other=0.0)


@triton.jit
def _block(base, row, inside, columns, start, W: tl.constexpr, A: tl.constexpr, T: tl.constexpr, WHOLE: tl.constexpr):
    """Columns start.. of rows (N, 1), (N, W), zero where a row is not `inside`; rows of whole blocks are aligned."""
    if WHOLE:
        here = row * (A * tl.cdiv(columns - T, A) + T) + start + tl.arange(0, W)[None, :]
    else:
        a = start + tl.arange(0, W)[None, :]
        here = row * columns + a
        inside = inside & (a < columns)
    return tl.load(base + here, mask=inside, other=0.0)


@triton.jit
def _factors(
    bias, b, h, first, heads, queries, columns, start,
    N: tl.constexpr, W: tl.constexpr, A: tl.constexpr, T: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """W of the factors' columns for rows first.., (N, W)."""
    n = first + tl.arange(0, N).to(tl.int64)[:, None]
    return _block(bias, (b * heads + h) * queries + n, n < queries, columns, start, W, A, T, WHOLE)


@triton.jit
def _columns(
    table, first, keys, columns, start,
    M: tl.constexpr, W: tl.constexpr, A: tl.constexpr, T: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """The same columns for keys first.., (M, W): 1 where a column concerns a key."""
    m = first + tl.arange(0, M).to(tl.int64)[:, None]
    return _block(table, m, m < keys, columns, start, W, A, T, WHOLE)


@triton.jit
def _biased(
    scores, bias, table, b, h, row, key, heads, queries, keys, columns, block, end,
    N: tl.constexpr, M: tl.constexpr, A: tl.constexpr, WHOLE: tl.constexpr, TURNED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Scores (N, M), or turned (M, N), with the blocks of columns from `block` to `end` added."""
    for one in tl.range(block, end, num_stages=1):
        r_tile = _factors(bias, b, h, row, heads, queries, columns, one * A, N, A, A, 0, WHOLE)
        t_tile = _columns(table, key, keys, columns, one * A, M, A, A, 0, WHOLE)
        if TURNED:
            scores = tl.dot(t_tile, tl.trans(r_tile), scores, input_precision=PRECISION)
        else:
            scores = tl.dot(r_tile, tl.trans(t_tile), scores, input_precision=PRECISION)
    return scores


@triton.jit(do_not_specialize=_SIZES)
def _forward_kernel(
    q, k, v, bias, table, sink_logit, sink_value, out, sums, heads, queries, keys, columns, scale,
    qb, qh, qn, qc, kb, kh, kn, kc, vb, vh, vn, vc,
    SINK: tl.constexpr, N: tl.constexpr, M: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr,
    A: tl.constexpr, T: tl.constexpr, SOME: tl.constexpr, MANY: tl.constexpr, WHOLE: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    first, b, h = _place(heads, queries, N)
    q_tile = _rows(q, b, h, first, queries, qb, qh, qn, qc, N, C, WIDTH)
    rows = first + tl.arange(0, N).to(tl.int64)
    c = tl.arange(0, C)
    flat = (b * heads + h) * queries + rows
    if SINK:
        high = tl.load(sink_logit + flat, mask=rows < queries, other=0.0).to(tl.float32)
        total = tl.where(high == -float("inf"), 0.0, 1.0)
        value = tl.load(sink_value + (b * heads + h) * WIDTH + c, mask=c < WIDTH, other=0.0).to(tl.float32)
        found = total[:, None] * value[None, :]
    else:
        high = tl.full([N], -float("inf"), tl.float32)
        total = tl.zeros([N], tl.float32)
        found = tl.zeros([N, C], tl.float32)
    blocks = tl.cdiv(columns, A)
    if SOME:
        r_tile = _factors(bias, b, h, first, heads, queries, columns, 0, N, A, A, T, WHOLE)
    if T:
        r_tail = _factors(bias, b, h, first, heads, queries, columns, A, N, T, A, T, WHOLE)
    for start in range(0, keys, M):
        k_tile = _rows(k, b, h, start, keys, kb, kh, kn, kc, M, C, WIDTH)
        v_tile = _rows(v, b, h, start, keys, vb, vh, vn, vc, M, C, WIDTH)
        scores = scale * tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION)
        if SOME:
            t_tile = _columns(table, start, keys, columns, 0, M, A, A, T, WHOLE)
            scores = tl.dot(r_tile, tl.trans(t_tile), scores, input_precision=PRECISION)
        if T:
            t_tail = _columns(table, start, keys, columns, A, M, T, A, T, WHOLE)
            scores = tl.dot(r_tail, tl.trans(t_tail), scores, input_precision=PRECISION)
        if MANY:
            scores = _biased(
                scores, bias, table, b, h, first, start, heads, queries, keys, columns, 1, blocks,
                N, M, A, WHOLE, False, PRECISION,
            )  # fmt: skip
        scores = tl.where((start + tl.arange(0, M) < keys)[None, :], scores, -float("inf"))
        higher = tl.maximum(high, tl.max(scores, axis=1))
        shrink = tl.exp2((high - higher) * _LOG2E)
        weights = tl.exp2(scores * _LOG2E - (higher * _LOG2E)[:, None])
        total = total * shrink + tl.sum(weights, axis=1)
        found = found * shrink[:, None]
        found = tl.dot(weights.to(v_tile.dtype), v_tile, found, input_precision=PRECISION)
        high = higher
    found = found / total[:, None]
    inside = (rows < queries)[:, None] & (c < WIDTH)[None, :]
    tl.store(out + flat[:, None] * WIDTH + c[None, :], found.to(out.dtype.element_ty), mask=inside)
    tl.store(sums + flat, high + tl.log2(total) / _LOG2E, mask=rows < queries)


@triton.jit(do_not_specialize=_SIZES)
def _query_gradient_kernel(
    slope, q, k, v, bias, table, out, sums, delta, by_q, by_bias, heads, queries, keys, columns, scale,
    sb, sh, sn, sc, qb, qh, qn, qc, kb, kh, kn, kc, vb, vh, vn, vc,
    FIRST: tl.constexpr, N: tl.constexpr, M: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr,
    A: tl.constexpr, T: tl.constexpr, SOME: tl.constexpr, MANY: tl.constexpr, WHOLE: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients by q and by the first block of the factors, which makes `delta`; or by each of the other blocks."""
    first, b, h = _place(heads, queries, N)
    rows = first + tl.arange(0, N).to(tl.int64)
    c = tl.arange(0, C)
    flat = (b * heads + h) * queries + rows
    q_tile = _rows(q, b, h, first, queries, qb, qh, qn, qc, N, C, WIDTH)
    slopes = _rows(slope, b, h, first, queries, sb, sh, sn, sc, N, C, WIDTH)
    total = tl.load(sums + flat, mask=rows < queries, other=0.0) * _LOG2E
    inside = (rows < queries)[:, None] & (c < WIDTH)[None, :]
    if FIRST:
        output = tl.load(out + flat[:, None] * WIDTH + c[None, :], mask=inside, other=0.0).to(tl.float32)
        mean = tl.sum(output * slopes.to(tl.float32), axis=1)
        tl.store(delta + flat, mean, mask=rows < queries)
    else:
        mean = tl.load(delta + flat, mask=rows < queries, other=0.0)
    q_sum = tl.zeros([N, C], tl.float32)
    bias_sum = tl.zeros([N, A], tl.float32)
    tail_sum = tl.zeros([N, T if T else 16], tl.float32)
    blocks = tl.cdiv(columns, A)
    own = 0 if FIRST else 1 + tl.program_id(1)
    if SOME:
        r_tile = _factors(bias, b, h, first, heads, queries, columns, own * A, N, A, A, T, WHOLE)
    if T:
        r_tail = _factors(bias, b, h, first, heads, queries, columns, A, N, T, A, T, WHOLE)
    for start in range(0, keys, M):
        k_tile = _rows(k, b, h, start, keys, kb, kh, kn, kc, M, C, WIDTH)
        v_tile = _rows(v, b, h, start, keys, vb, vh, vn, vc, M, C, WIDTH)
        scores = scale * tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION)
        if SOME:
            t_tile = _columns(table, start, keys, columns, own * A, M, A, A, T, WHOLE)
            scores = tl.dot(r_tile, tl.trans(t_tile), scores, input_precision=PRECISION)
        if T:
            t_tail = _columns(table, start, keys, columns, A, M, T, A, T, WHOLE)
            scores = tl.dot(r_tail, tl.trans(t_tail), scores, input_precision=PRECISION)
        if MANY:
            scores = _biased(
                scores, bias, table, b, h, first, start, heads, queries, keys, columns, 0, own,
                N, M, A, WHOLE, False, PRECISION,
            )  # fmt: skip
            scores = _biased(
                scores, bias, table, b, h, first, start, heads, queries, keys, columns, own + 1, blocks,
                N, M, A, WHOLE, False, PRECISION,
            )  # fmt: skip
        weights = tl.exp2(scores * _LOG2E - total[:, None])
        weights = tl.where((start + tl.arange(0, M) < keys)[None, :], weights, 0.0)
        by_scores = weights * (tl.dot(slopes, tl.trans(v_tile), input_precision=PRECISION) - mean[:, None])
        by_scores = by_scores.to(k_tile.dtype)
        if FIRST:
            q_sum = tl.dot(by_scores, k_tile, q_sum, input_precision=PRECISION)
        if SOME:
            bias_sum = tl.dot(by_scores, t_tile, bias_sum, input_precision=PRECISION)
        if T:
            tail_sum = tl.dot(by_scores, t_tail, tail_sum, input_precision=PRECISION)
    if FIRST:
        tl.store(by_q + flat[:, None] * WIDTH + c[None, :], (scale * q_sum).to(by_q.dtype.element_ty), mask=inside)
    if SOME:
        _store_columns(by_bias, bias_sum, flat, rows < queries, columns, own * A, A)
    if T:
        _store_columns(by_bias, tail_sum, flat, rows < queries, columns, A, T)


@triton.jit
def _store_columns(by_bias, values, flat, inside, columns, start, W: tl.constexpr):
    a = start + tl.arange(0, W)
    here = by_bias + flat[:, None] * columns + a[None, :]
    tl.store(here, values.to(by_bias.dtype.element_ty), mask=inside[:, None] & (a < columns)[None, :])


@triton.jit(do_not_specialize=_SIZES)
def _key_gradient_kernel(
    slope, q, k, v, bias, table, sums, delta, by_k, by_v, heads, queries, keys, columns, scale,
    sb, sh, sn, sc, qb, qh, qn, qc, kb, kh, kn, kc, vb, vh, vn, vc,
    N: tl.constexpr, M: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr,
    A: tl.constexpr, T: tl.constexpr, SOME: tl.constexpr, MANY: tl.constexpr, WHOLE: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """With the scores turned, (M, N), so that no other product has to be."""
    first, b, h = _place(heads, keys, M)
    k_tile = _rows(k, b, h, first, keys, kb, kh, kn, kc, M, C, WIDTH)
    v_tile = _rows(v, b, h, first, keys, vb, vh, vn, vc, M, C, WIDTH)
    blocks = tl.cdiv(columns, A)
    if SOME:
        t_tile = _columns(table, first, keys, columns, 0, M, A, A, T, WHOLE)
    if T:
        t_tail = _columns(table, first, keys, columns, A, M, T, A, T, WHOLE)
    k_sum = tl.zeros([M, C], tl.float32)
    v_sum = tl.zeros([M, C], tl.float32)
    for start in range(0, queries, N):
        rows = start + tl.arange(0, N).to(tl.int64)
        flat = (b * heads + h) * queries + rows
        q_tile = _rows(q, b, h, start, queries, qb, qh, qn, qc, N, C, WIDTH)
        slopes = _rows(slope, b, h, start, queries, sb, sh, sn, sc, N, C, WIDTH)
        # Beyond the last query the weight is e^-inf.
        total = tl.load(sums + flat, mask=rows < queries, other=float("inf")) * _LOG2E
        mean = tl.load(delta + flat, mask=rows < queries, other=0.0)
        scores = scale * tl.dot(k_tile, tl.trans(q_tile), input_precision=PRECISION)
        if SOME:
            r_tile = _factors(bias, b, h, start, heads, queries, columns, 0, N, A, A, T, WHOLE)
            scores = tl.dot(t_tile, tl.trans(r_tile), scores, input_precision=PRECISION)
        if T:
            r_tail = _factors(bias, b, h, start, heads, queries, columns, A, N, T, A, T, WHOLE)
            scores = tl.dot(t_tail, tl.trans(r_tail), scores, input_precision=PRECISION)
        if MANY:
            scores = _biased(
                scores, bias, table, b, h, start, first, heads, queries, keys, columns, 1, blocks,
                N, M, A, WHOLE, True, PRECISION,
            )  # fmt: skip
        weights = tl.exp2(scores * _LOG2E - total[None, :])
        v_sum = tl.dot(weights.to(slopes.dtype), slopes, v_sum, input_precision=PRECISION)
        by_scores = weights * (tl.dot(v_tile, tl.trans(slopes), input_precision=PRECISION) - mean[None, :])
        k_sum = tl.dot(by_scores.to(q_tile.dtype), q_tile, k_sum, input_precision=PRECISION)
    n = first + tl.arange(0, M).to(tl.int64)
    c = tl.arange(0, C)
    inside = (n < keys)[:, None] & (c < WIDTH)[None, :]
    here = ((b * heads + h) * keys + n)[:, None] * WIDTH + c[None, :]
    tl.store(by_k + here, (scale * k_sum).to(by_k.dtype.element_ty), mask=inside)
    tl.store(by_v + here, v_sum.to(by_v.dtype.element_ty), mask=inside)


@on_its_device
def forward(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, table: Tensor, sink_logit: Tensor | None, sink_value: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As `plain.forward`; the factors are rounded to the type of q."""
    if misread(q):
        out, sums = forward(q.float(), k.float(), v.float(), bias, table.float(), sink_logit, sink_value, scale)
        return out.to(q.dtype), sums
    batch, heads, queries, _ = q.shape
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    sums = torch.empty(batch, heads, queries, dtype=torch.float32, device=q.device)
    tile, shape = _tile("forward", q, tokens=queries, columns=bias.shape[3]), _shape(q, bias)
    _forward_kernel[(triton.cdiv(queries, tile["N"]) * batch * heads,)](
        q, k, v, bias.to(q.dtype), table,
        sums if sink_logit is None else sink_logit.contiguous(),
        sums if sink_value is None else sink_value.contiguous(),
        out, sums, heads, queries, k.shape[2], bias.shape[3], scale,
        *q.stride(), *k.stride(), *v.stride(), SINK=sink_logit is not None, **shape, **tile,
    )  # fmt: skip
    return out, sums


@on_its_device
def backward(
    slope: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, table: Tensor, out: Tensor, sums: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """As `plain.backward`; the factors are rounded to the type of q."""
    if misread(q):
        given = slope.float(), q.float(), k.float(), v.float(), bias.float(), table.float()
        by_q, by_k, by_v, by_bias, delta = backward(*given, out, sums, scale)
        return by_q.to(q.dtype), by_k.to(k.dtype), by_v.to(v.dtype), by_bias.to(bias.dtype), delta
    batch, heads, queries, _ = q.shape
    keys, columns = k.shape[2], bias.shape[3]
    by_q, by_k, by_v, by_bias = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v, bias))
    delta = torch.empty_like(sums)
    shape = _shape(q, bias)
    given = (slope, q, k, v, bias.to(q.dtype), table)
    rest = (heads, queries, keys, columns, scale)
    strides = (*slope.stride(), *q.stride(), *k.stride(), *v.stride())
    tile = _tile("by_queries", q, tokens=queries, columns=columns)
    programs = triton.cdiv(queries, tile["N"]) * batch * heads
    given_queries = (*given, out, sums, delta, by_q, by_bias, *rest, *strides)
    _query_gradient_kernel[(programs,)](*given_queries, FIRST=True, **shape, **tile)
    if shape["MANY"]:
        further = triton.cdiv(columns, shape["A"]) - 1
        _query_gradient_kernel[(programs, further)](*given_queries, FIRST=False, **shape, **tile)
    tile = _tile("by_keys", q, tokens=keys, columns=columns)
    _key_gradient_kernel[(triton.cdiv(keys, tile["M"]) * batch * heads,)](
        *given, sums, delta, by_k, by_v, *rest, *strides, **shape, **tile
    )
    return by_q, by_k, by_v, by_bias, delta


def _kind(q: Tensor) -> tiles.Kind:
    return "single" if q.dtype == torch.float32 else "half"


def _tile(kernel: tiles.AttentionKernel, q: Tensor, *, tokens: int, columns: int) -> dict[str, int]:
    kind = _kind(q)
    head = min(q.shape[3], tiles.WIDEST_HEAD[kind])  # of what the interpreter takes as float32 it may be more
    n, m, warps, stages = tiles.attention(kernel, kind=kind, head=head, tokens=tokens, columns=columns)
    return {"N": n, "M": m, "num_warps": warps, "num_stages": stages}


def _shape(q: Tensor, bias: Tensor) -> dict[str, Any]:
    """What a kernel is compiled for: the head size and its power of two, and the blocks of columns."""
    width, columns = q.shape[3], bias.shape[3]
    block, tail = tiles.blocks(columns, kind=_kind(q))
    return {
        "C": max(16, triton.next_power_of_2(width)), "WIDTH": width,
        "A": block, "T": tail, "SOME": columns > 0, "MANY": columns > block + tail,
        "WHOLE": columns == block + tail or (not tail and columns % block == 0),
        "PRECISION": "tf32x3" if q.dtype == torch.float32 else "ieee",
    }  # fmt: skip
