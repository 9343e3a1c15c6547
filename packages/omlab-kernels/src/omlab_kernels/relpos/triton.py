# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""Attention with thin bias factors in Triton: no matrix of scores in memory, no atomics.

The bias of a tile of scores is gathered from the rows of the factors. Its gradient is a sum over the keys that share a
column: a product of the tile's gradient with the 0/1 matrix of the columns, made in registers. One kernel takes
tiles of queries (output; gradients by q and the factors), another tiles of keys (gradients by k and v).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels.dispatch import on_its_device

_SIZES = ["heads", "queries", "keys"]  # a kernel serves them all


@triton.jit
def _place(heads, count, N: tl.constexpr):
    """First row of this program's tile, and its sample and head: tiles of a head follow each other on the one axis.

    Other axes of a grid end at 65,535, which windows times heads can pass.
    """
    tiles = tl.cdiv(count, N)
    outer = tl.program_id(0) // tiles
    return tl.program_id(0) % tiles * N, (outer // heads).to(tl.int64), (outer % heads).to(tl.int64)


@triton.jit
def _rows(base, b, h, first, count, sb, sh, sn, sc, width, N: tl.constexpr, C: tl.constexpr):
    """Rows first.. of a (B, H, n, c) tensor, (N, C), zero beyond its ends."""
    n = first + tl.arange(0, N).to(tl.int64)[:, None]
    c = tl.arange(0, C).to(tl.int64)[None, :]
    return tl.load(base + b * sb + h * sh + n * sn + c * sc, mask=(n < count) & (c < width), other=0.0)


@triton.jit
def _tile_bias(
    bias, b, h, rows, columns, queries, keys, index, ib, ih, i_n, ia, F: tl.constexpr, N: tl.constexpr, M: tl.constexpr
):
    """The bias of the queries `rows` (N, 1) for the keys `columns` (1, M)."""
    total = tl.zeros([N, M], tl.float32)
    for f in tl.static_range(F):
        t = tl.load(index + f * keys + columns, mask=columns < keys, other=0)
        here = bias + b * ib + h * ih + rows * i_n + t * ia
        total += tl.load(here, mask=(rows < queries) & (columns < keys), other=0.0).to(tl.float32)
    return total


@triton.jit(do_not_specialize=_SIZES)
def _forward_kernel(
    q, k, v, bias, index, sink_logit, sink_value, out, sums, heads, queries, keys, width, scale,
    qb, qh, qn, qc, kb, kh, kn, kc, vb, vh, vn, vc, ib, ih, i_n, ia,
    F: tl.constexpr, SINK: tl.constexpr, N: tl.constexpr, M: tl.constexpr, C: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    first, b, h = _place(heads, queries, N)
    q_tile = _rows(q, b, h, first, queries, qb, qh, qn, qc, width, N, C)
    rows = first + tl.arange(0, N).to(tl.int64)
    c = tl.arange(0, C)
    flat = (b * heads + h) * queries + rows
    if SINK:
        high = tl.load(sink_logit + flat, mask=rows < queries, other=0.0).to(tl.float32)
        total = tl.where(high == -float("inf"), 0.0, 1.0)
        value = tl.load(sink_value + (b * heads + h) * width + c, mask=c < width, other=0.0).to(tl.float32)
        found = total[:, None] * value[None, :]
    else:
        high = tl.full([N], -float("inf"), tl.float32)
        total = tl.zeros([N], tl.float32)
        found = tl.zeros([N, C], tl.float32)
    for start in range(0, keys, M):
        k_tile = _rows(k, b, h, start, keys, kb, kh, kn, kc, width, M, C)
        v_tile = _rows(v, b, h, start, keys, vb, vh, vn, vc, width, M, C)
        columns = start + tl.arange(0, M)[None, :]
        scores = scale * tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION)
        scores += _tile_bias(bias, b, h, rows[:, None], columns, queries, keys, index, ib, ih, i_n, ia, F, N, M)
        scores = tl.where(columns < keys, scores, -float("inf"))
        higher = tl.maximum(high, tl.max(scores, axis=1))
        shrink = tl.exp(high - higher)
        weights = tl.exp(scores - higher[:, None])
        total = total * shrink + tl.sum(weights, axis=1)
        found = found * shrink[:, None] + tl.dot(weights.to(v_tile.dtype), v_tile, input_precision=PRECISION)
        high = higher
    found = found / total[:, None]
    inside = (rows < queries)[:, None] & (c < width)[None, :]
    tl.store(out + flat[:, None] * width + c[None, :], found.to(out.dtype.element_ty), mask=inside)
    tl.store(sums + flat, high + tl.log(total), mask=rows < queries)


@triton.jit(do_not_specialize=_SIZES)
def _query_gradient_kernel(
    slope, q, k, v, bias, index, sums, delta, by_q, by_bias, heads, queries, keys, width, factors, scale,
    sb, sh, sn, sc, qb, qh, qn, qc, kb, kh, kn, kc, vb, vh, vn, vc, ib, ih, i_n, ia,
    F: tl.constexpr, N: tl.constexpr, M: tl.constexpr, C: tl.constexpr, A: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    first, b, h = _place(heads, queries, N)
    rows = first + tl.arange(0, N).to(tl.int64)
    flat = (b * heads + h) * queries + rows
    q_tile = _rows(q, b, h, first, queries, qb, qh, qn, qc, width, N, C)
    slopes = _rows(slope, b, h, first, queries, sb, sh, sn, sc, width, N, C)
    total = tl.load(sums + flat, mask=rows < queries, other=0.0)
    mean = tl.load(delta + flat, mask=rows < queries, other=0.0)
    q_sum = tl.zeros([N, C], tl.float32)
    bias_sum = tl.zeros([N, A], tl.float32)
    for start in range(0, keys, M):
        k_tile = _rows(k, b, h, start, keys, kb, kh, kn, kc, width, M, C)
        v_tile = _rows(v, b, h, start, keys, vb, vh, vn, vc, width, M, C)
        columns = start + tl.arange(0, M)[None, :]
        scores = scale * tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION)
        scores += _tile_bias(bias, b, h, rows[:, None], columns, queries, keys, index, ib, ih, i_n, ia, F, N, M)
        weights = tl.where(columns < keys, tl.exp(scores - total[:, None]), 0.0)
        by_scores = weights * (tl.dot(slopes, tl.trans(v_tile), input_precision=PRECISION) - mean[:, None])
        q_sum += tl.dot(by_scores.to(k_tile.dtype), k_tile, input_precision=PRECISION)
        if F > 0:
            # Which column of which factor concerns a key; beyond the last key by_scores is 0.
            here = start + tl.arange(0, M)[:, None]
            chosen = tl.zeros([M, A], tl.float32)
            for f in tl.static_range(F):
                t = tl.load(index + f * keys + here, mask=here < keys, other=-1)
                chosen += (t == tl.arange(0, A)[None, :]).to(tl.float32)
            bias_sum += tl.dot(by_scores, chosen, input_precision=PRECISION)
    c = tl.arange(0, C)
    inside = (rows < queries)[:, None] & (c < width)[None, :]
    tl.store(by_q + flat[:, None] * width + c[None, :], (scale * q_sum).to(by_q.dtype.element_ty), mask=inside)
    if F > 0:
        a = tl.arange(0, A)
        inside = (rows < queries)[:, None] & (a < factors)[None, :]
        tl.store(by_bias + flat[:, None] * factors + a[None, :], bias_sum.to(by_bias.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def _key_gradient_kernel(
    slope, q, k, v, bias, index, sums, delta, by_k, by_v, heads, queries, keys, width, scale,
    sb, sh, sn, sc, qb, qh, qn, qc, kb, kh, kn, kc, vb, vh, vn, vc, ib, ih, i_n, ia,
    F: tl.constexpr, N: tl.constexpr, M: tl.constexpr, C: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    first, b, h = _place(heads, keys, M)
    k_tile = _rows(k, b, h, first, keys, kb, kh, kn, kc, width, M, C)
    v_tile = _rows(v, b, h, first, keys, vb, vh, vn, vc, width, M, C)
    columns = first + tl.arange(0, M)[None, :]
    k_sum = tl.zeros([M, C], tl.float32)
    v_sum = tl.zeros([M, C], tl.float32)
    for start in range(0, queries, N):
        rows = start + tl.arange(0, N).to(tl.int64)
        flat = (b * heads + h) * queries + rows
        q_tile = _rows(q, b, h, start, queries, qb, qh, qn, qc, width, N, C)
        slopes = _rows(slope, b, h, start, queries, sb, sh, sn, sc, width, N, C)
        total = tl.load(sums + flat, mask=rows < queries, other=0.0)
        mean = tl.load(delta + flat, mask=rows < queries, other=0.0)
        scores = scale * tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION)
        scores += _tile_bias(bias, b, h, rows[:, None], columns, queries, keys, index, ib, ih, i_n, ia, F, N, M)
        weights = tl.where((columns < keys) & (rows < queries)[:, None], tl.exp(scores - total[:, None]), 0.0)
        v_sum += tl.dot(tl.trans(weights.to(slopes.dtype)), slopes, input_precision=PRECISION)
        by_scores = weights * (tl.dot(slopes, tl.trans(v_tile), input_precision=PRECISION) - mean[:, None])
        k_sum += tl.dot(tl.trans(by_scores.to(q_tile.dtype)), q_tile, input_precision=PRECISION)
    n = first + tl.arange(0, M).to(tl.int64)
    c = tl.arange(0, C)
    inside = (n < keys)[:, None] & (c < width)[None, :]
    here = ((b * heads + h) * keys + n)[:, None] * width + c[None, :]
    tl.store(by_k + here, (scale * k_sum).to(by_k.dtype.element_ty), mask=inside)
    tl.store(by_v + here, v_sum.to(by_v.dtype.element_ty), mask=inside)


@on_its_device
def forward(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, index: Tensor, sink_logit: Tensor | None, sink_value: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As `plain.forward`."""
    if _misread(q):
        out, sums = forward(q.float(), k.float(), v.float(), bias, index, sink_logit, sink_value, scale)
        return out.to(q.dtype), sums
    batch, heads, queries, width = q.shape
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    sums = torch.empty(batch, heads, queries, dtype=torch.float32, device=q.device)
    n, m, c = _tile(width)
    _forward_kernel[(triton.cdiv(queries, n) * batch * heads,)](
        q, k, v, bias, index.contiguous(),
        sums if sink_logit is None else sink_logit.contiguous(),
        sums if sink_value is None else sink_value.contiguous(),
        out, sums, heads, queries, k.shape[2], width, scale,
        *q.stride(), *k.stride(), *v.stride(), *bias.stride(),
        F=index.shape[0], SINK=sink_logit is not None, N=n, M=m, C=c, PRECISION=_precision(q), num_stages=_stages(q),
    )  # fmt: skip
    return out, sums


@on_its_device
def backward(
    slope: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    index: Tensor,
    sums: Tensor,
    delta: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `plain.backward`."""
    if _misread(q):
        found = backward(slope.float(), q.float(), k.float(), v.float(), bias, index, sums, delta, scale)
        return found[0].to(q.dtype), found[1].to(k.dtype), found[2].to(v.dtype), found[3]
    batch, heads, queries, width = q.shape
    keys, factors = k.shape[2], bias.shape[3]
    by_q, by_k, by_v, by_bias = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v, bias))
    n, m, c = _tile(width)
    index = index.contiguous()
    strides = (*slope.stride(), *q.stride(), *k.stride(), *v.stride(), *bias.stride())
    given = (slope, q, k, v, bias, index, sums, delta)
    shared = {"F": index.shape[0], "N": n, "M": m, "C": c, "PRECISION": _precision(q), "num_stages": _stages(q)}
    _query_gradient_kernel[(triton.cdiv(queries, n) * batch * heads,)](
        *given, by_q, by_bias, heads, queries, keys, width, factors, scale, *strides,
        A=max(16, triton.next_power_of_2(factors)), **shared,
    )  # fmt: skip
    _key_gradient_kernel[(triton.cdiv(keys, m) * batch * heads,)](
        *given, by_k, by_v, heads, queries, keys, width, scale, *strides, **shared
    )
    return by_q, by_k, by_v, by_bias


def _tile(width: int) -> tuple[int, int, int]:
    """Queries and keys of a tile, and the head size that holds `width`."""
    return (
        (32, 32, max(16, triton.next_power_of_2(width)))
        if width > 64
        else (64, 32, max(16, triton.next_power_of_2(width)))
    )


def _misread(q: Tensor) -> bool:
    """Triton's interpreter multiplies the bit patterns of bfloat16 as if they were integers: it gets float32."""
    return q.dtype == torch.bfloat16 and q.device.type == "cpu"


def _stages(q: Tensor) -> int:
    """Tiles loaded ahead: with float32's, more than one would not fit in the shared memory of smaller GPUs."""
    return 1 if q.dtype == torch.float32 else 2


def _precision(q: Tensor) -> str:
    """float32 stays float32: TF32 would lose what the tolerances promise."""
    return "ieee" if q.dtype == torch.float32 else "tf32"
