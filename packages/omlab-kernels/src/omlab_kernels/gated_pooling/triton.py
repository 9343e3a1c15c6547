# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""Gated attention pooling in Triton: the rows once forwards; backwards slopes of tanh and sigmoid, and two products.

What memory says, of N = 100,000 rows of D = 512 and H = 256 in bfloat16. Step by step, the rows (102 MB) are read three
times, and tanh, sigmoid, their product and what these are of are written and read again, 0.8 GB in all. Here a program
takes a tile of rows through both products, the gate and the scores, and reads it again, from the cache, for its share
of the means: 0.1 GB. So the products are fused. Backwards they are made again the same way, and the gradients of both
arguments (2 N H numbers, as many as the rows have here) are written once. The two products that follow cannot be fused
with that: the gradient of a row sums over all H, that of V over all rows, and a tile of neither fits into a program
beside the others. Making the arguments again in both instead would cost four more products of N D H to save 0.3 GB,
which takes as long.

A bag begins a tile of its own, a piece: pieces are shared out alike however long bags are, by numbers that stay on the
device. A piece has the maximum of its scores, the sum of exponentials and the weighed sum of rows; those of a bag are
put together in their order by a second kernel, so that the result is the same each time (no atomics).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels import tiles
from omlab_kernels.dispatch import misread, on_its_device

_LOW = tl.constexpr(-1e38)  # below every score, and still a number: no NaN of infinities
_AT_ONCE = 32  # pieces that are put together in one go, and the width of what is


@triton.jit
def _piece(offsets, bags, firsts, N: tl.constexpr):
    """The bag of this program's piece, its rows, and which of them there are."""
    piece = tl.program_id(0)
    bag = tl.load(bags + piece)
    row = tl.load(offsets + bag) + (piece - tl.load(firsts + bag)) * N + tl.arange(0, N)
    return bag, row, row < tl.load(offsets + bag + 1)


@triton.jit
def _arguments(
    rows, V, U, row, there, h, width, hidden,
    N: tl.constexpr, H: tl.constexpr, D: tl.constexpr, GATED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Rows times V and U transposed, (N, H) each; the second stays zero without a gate."""
    value = tl.zeros([N, H], tl.float32)
    gate = tl.zeros([N, H], tl.float32)
    for start in range(0, width, D):
        d = start + tl.arange(0, D)
        x = tl.load(rows + row[:, None] * width + d[None, :], mask=there[:, None] & (d < width)[None, :], other=0.0)
        at, inside = h[None, :] * width + d[:, None], (h < hidden)[None, :] & (d < width)[:, None]
        value = tl.dot(x, tl.load(V + at, mask=inside, other=0.0), value, input_precision=PRECISION)
        if GATED:
            gate = tl.dot(x, tl.load(U + at, mask=inside, other=0.0), gate, input_precision=PRECISION)
    return value, gate


@triton.jit
def _seen(value, gate, v, u, h, hidden, GATED: tl.constexpr):
    """Of the one argument tanh, of the other sigmoid, biases added."""
    real = h < hidden
    value += tl.load(v + h, mask=real, other=0.0).to(tl.float32)[None, :]
    if GATED:
        gate += tl.load(u + h, mask=real, other=0.0).to(tl.float32)[None, :]
    fall, shut = tl.exp(-2 * tl.abs(value)), tl.exp(-tl.abs(gate))  # below 1: nothing overflows
    seen = (1 - fall) / (1 + fall)
    return tl.where(value < 0, -seen, seen), tl.where(gate < 0, shut, 1.0) / (1 + shut)


@triton.jit
def _column(tile, branch, K: tl.constexpr):
    """A branch's column of a tile (N, K): (N,)."""
    return tl.sum(tl.where(tl.arange(0, K)[None, :] == branch, tile, 0.0), axis=1)


@triton.jit
def _forward_kernel(
    rows, offsets, bags, firsts, V, v, U, u, w, c, scores, highs, totals, sums, width, hidden, branches,
    N: tl.constexpr, H: tl.constexpr, D: tl.constexpr, K: tl.constexpr, GATED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The scores of a piece, and its maximum, sum of exponentials and weighed sum of rows for each branch."""
    _, row, there = _piece(offsets, bags, firsts, N)
    piece = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, K)
    found = tl.zeros([N, K], tl.float32)
    for first in range(0, hidden, H):
        h = first + tl.arange(0, H)
        value, gate = _arguments(rows, V, U, row, there, h, width, hidden, N, H, D, GATED, PRECISION)
        seen, open_ = _seen(value, gate, v, u, h, hidden, GATED)
        if GATED:
            seen *= open_
        for branch in range(branches):
            weight = tl.load(w + branch * hidden + h, mask=h < hidden, other=0.0).to(tl.float32)
            found += tl.where(k[None, :] == branch, tl.sum(seen * weight[None, :], axis=1)[:, None], 0.0)
    found += tl.load(c + k, mask=k < branches, other=0.0).to(tl.float32)[None, :]
    real = there[:, None] & (k < branches)[None, :]
    tl.store(scores + row[:, None] * branches + k[None, :], found, mask=real)
    high = tl.max(tl.where(real, found, _LOW), axis=0)
    share = tl.where(real, tl.exp(tl.where(real, found - high[None, :], 0.0)), 0.0)
    tl.store(highs + piece * branches + k, high, mask=k < branches)
    tl.store(totals + piece * branches + k, tl.sum(share, axis=0), mask=k < branches)
    for start in range(0, width, D):
        d = start + tl.arange(0, D)
        x = tl.load(rows + row[:, None] * width + d[None, :], mask=there[:, None] & (d < width)[None, :], other=0.0)
        x = x.to(tl.float32)
        for branch in range(branches):
            part = tl.sum(_column(share, branch, K)[:, None] * x, axis=0)
            tl.store(sums + (piece * branches + branch) * width + d, part, mask=d < width)


@triton.jit
def _together_kernel(
    firsts, highs, totals, sums, means, logarithms, branches, width, P: tl.constexpr, D: tl.constexpr
):  # fmt: skip
    """The pieces of a bag and branch put together: D numbers of its mean, and the logarithm of its sum."""
    bag, branch = tl.program_id(0).to(tl.int64) // branches, tl.program_id(0) % branches
    first, last = tl.load(firsts + bag), tl.load(firsts + bag + 1)
    d = tl.program_id(1) * D + tl.arange(0, D)
    high = tl.full([P], _LOW, tl.float32)
    for start in range(first, last, P):
        at = start + tl.arange(0, P)
        high = tl.maximum(high, tl.load(highs + at * branches + branch, mask=at < last, other=_LOW))
    top = tl.max(high, axis=0)
    total = tl.zeros([P], tl.float32)
    mean = tl.zeros([D], tl.float32)
    for start in range(first, last, P):
        at = start + tl.arange(0, P)
        place, there = at * branches + branch, at < last
        share = tl.where(there, tl.exp(tl.load(highs + place, mask=there, other=_LOW) - top), 0.0)
        total += share * tl.load(totals + place, mask=there, other=0.0)
        inside = there[:, None] & (d < width)[None, :]
        part = tl.load(sums + place[:, None] * width + d[None, :], mask=inside, other=0.0)
        mean += tl.sum(share[:, None] * part, axis=0)
    some = tl.sum(total, axis=0)
    some = tl.where(some > 0, some, 1.0)  # of a bag without rows the mean stays zeros
    at = bag * branches + branch
    tl.store(means + at * width + d, (mean / some).to(means.dtype.element_ty), mask=d < width)
    if tl.program_id(1) == 0:
        tl.store(logarithms + at, top + tl.log(some))


@triton.jit
def _slopes_kernel(
    slope, own, scores, logarithms, rows, offsets, bags, firsts, V, v, U, u, w, slopes, dbias, dw,
    count, width, hidden, branches,
    N: tl.constexpr, H: tl.constexpr, D: tl.constexpr, K: tl.constexpr, GATED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradients of both arguments of a piece's rows, and its shares of those of the biases and of w."""
    bag, row, there = _piece(offsets, bags, firsts, N)
    piece = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, K)
    real = there[:, None] & (k < branches)[None, :]
    along = tl.zeros([N, K], tl.float32)
    for start in range(0, width, D):
        d = start + tl.arange(0, D)
        x = tl.load(rows + row[:, None] * width + d[None, :], mask=there[:, None] & (d < width)[None, :], other=0.0)
        at, inside = (bag * branches + k)[None, :] * width + d[:, None], (k < branches)[None, :] & (d < width)[:, None]
        along = tl.dot(x, tl.load(slope + at, mask=inside, other=0.0), along, input_precision=PRECISION)
    mine = bag * branches + k
    found = tl.load(scores + row[:, None] * branches + k[None, :], mask=real, other=0.0)
    found -= tl.load(logarithms + mine, mask=k < branches, other=0.0)[None, :]
    along -= tl.load(own + mine, mask=k < branches, other=0.0)[None, :]
    by_score = tl.where(real, tl.exp(tl.where(real, found, 0.0)) * along, 0.0)
    for first in range(0, hidden, H):
        h = first + tl.arange(0, H)
        value, gate = _arguments(rows, V, U, row, there, h, width, hidden, N, H, D, GATED, PRECISION)
        seen, open_ = _seen(value, gate, v, u, h, hidden, GATED)
        inner = tl.zeros([N, H], tl.float32)
        for branch in range(branches):
            share = _column(by_score, branch, K)
            weight = tl.load(w + branch * hidden + h, mask=h < hidden, other=0.0).to(tl.float32)
            inner += share[:, None] * weight[None, :]
            part = tl.sum(share[:, None] * (seen * open_ if GATED else seen), axis=0)
            tl.store(dw + (piece * branches + branch) * hidden + h, part, mask=h < hidden)
        at, inside = row[:, None] * hidden + h[None, :], there[:, None] & (h < hidden)[None, :]
        ends = piece * (2 if GATED else 1) * hidden + h
        if GATED:
            by_gate = inner * seen * open_ * (1 - open_)
            tl.store(slopes + count * hidden + at, by_gate.to(slopes.dtype.element_ty), mask=inside)
            tl.store(dbias + ends + hidden, tl.sum(by_gate, axis=0), mask=h < hidden)
            inner *= open_
        inner *= 1 - seen * seen
        tl.store(slopes + at, inner.to(slopes.dtype.element_ty), mask=inside)
        tl.store(dbias + ends, tl.sum(inner, axis=0), mask=h < hidden)


@triton.jit
def _through(
    found, slopes, weight, row, there, d, width, hidden, H: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """`found` (N, D) and the slopes of an argument (N, hidden) times its weight (hidden, D)."""
    for first in range(0, hidden, H):
        h = first + tl.arange(0, H)
        inside = there[:, None] & (h < hidden)[None, :]
        slope = tl.load(slopes + row[:, None] * hidden + h[None, :], mask=inside, other=0.0)
        inside = (h < hidden)[:, None] & (d < width)[None, :]
        part = tl.load(weight + h[:, None] * width + d[None, :], mask=inside, other=0.0)
        found = tl.dot(slope, part, found, input_precision=PRECISION)
    return found


@triton.jit
def _rows_kernel(
    slope, scores, logarithms, offsets, bags, firsts, slopes, V, U, drows, count, width, hidden, branches,
    N: tl.constexpr, H: tl.constexpr, D: tl.constexpr, GATED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient of a piece's rows: by the mean that they are part of, and through both arguments."""
    bag, row, there = _piece(offsets, bags, firsts, N)
    d = tl.program_id(1) * D + tl.arange(0, D)
    found = tl.zeros([N, D], tl.float32)
    for branch in range(branches):
        at = bag * branches + branch
        score = tl.load(scores + row * branches + branch, mask=there, other=0.0) - tl.load(logarithms + at)
        share = tl.where(there, tl.exp(tl.where(there, score, 0.0)), 0.0)
        part = tl.load(slope + at * width + d, mask=d < width, other=0.0).to(tl.float32)
        found += share[:, None] * part[None, :]
    found = _through(found, slopes, V, row, there, d, width, hidden, H, PRECISION)
    if GATED:
        found = _through(found, slopes + count * hidden, U, row, there, d, width, hidden, H, PRECISION)
    inside = there[:, None] & (d < width)[None, :]
    tl.store(drows + row[:, None] * width + d[None, :], found.to(drows.dtype.element_ty), mask=inside)


@triton.jit
def _weights_kernel(
    slopes, rows, found, count, each, width, hidden,
    N: tl.constexpr, H: tl.constexpr, D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A share of the gradient of V or U: the slopes of so many rows, transposed, times these."""
    across = tl.cdiv(width, D)
    h = tl.program_id(0) // across * H + tl.arange(0, H)
    d = tl.program_id(0) % across * D + tl.arange(0, D)
    argument, share = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    total = tl.zeros([H, D], tl.float32)
    end = tl.minimum(count, (share + 1) * each)
    for start in range(share * each, end, N):
        row = start + tl.arange(0, N)
        there = row < end
        at, inside = (argument * count + row)[None, :] * hidden + h[:, None], there[None, :] & (h < hidden)[:, None]
        slope = tl.load(slopes + at, mask=inside, other=0.0)
        x = tl.load(rows + row[:, None] * width + d[None, :], mask=there[:, None] & (d < width)[None, :], other=0.0)
        total = tl.dot(slope, x, total, input_precision=PRECISION)
    at = (share * tl.num_programs(1) + argument) * hidden * width + h[:, None].to(tl.int64) * width + d[None, :]
    tl.store(found + at, total, mask=(h < hidden)[:, None] & (d < width)[None, :])


@on_its_device
def forward(
    rows: Tensor, offsets: Tensor, V: Tensor, v: Tensor, U: Tensor | None, u: Tensor | None, w: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `plain.forward`, of at most `tiles.MOST_BRANCHES`."""
    if misread(rows):
        means, scores, logarithms = forward(rows.float(), offsets, *map(_wide, (V, v, U, u, w, c)))
        return means.to(rows.dtype), scores, logarithms
    rows, V, v, w, c = (tensor.contiguous() for tensor in (rows, V, v, w, c))
    (count, width), (branches, hidden), bags = rows.shape, w.shape, len(offsets) - 1
    shape, launch = _shape("pooling", rows)
    pieces = _pieces(offsets, count=count, rows=shape["N"])
    P = len(pieces[1])

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device=rows.device)

    scores, highs, totals = empty(count, branches), empty(P, branches), empty(P, branches)
    sums = empty(P, branches, width)
    _forward_kernel[(P,)](
        rows, *pieces, V, v, *_gate(U, u, V, v), w, c, scores, highs, totals, sums, width, hidden, branches,
        K=tiles.MOST_BRANCHES, GATED=U is not None, **shape, **launch,
    )  # fmt: skip
    means, logarithms = torch.empty(bags, branches, width, dtype=rows.dtype, device=rows.device), empty(bags, branches)
    _together_kernel[(bags * branches, triton.cdiv(width, _AT_ONCE))](
        pieces[2], highs, totals, sums, means, logarithms, branches, width, P=_AT_ONCE, D=_AT_ONCE, num_warps=2
    )
    return means, scores, logarithms


@on_its_device
def backward(
    slope: Tensor, means: Tensor, scores: Tensor, sums: Tensor,
    rows: Tensor, offsets: Tensor, V: Tensor, v: Tensor, U: Tensor | None, u: Tensor | None, w: Tensor, c: Tensor,
) -> list[Tensor]:  # fmt: skip
    """As `plain.backward`."""
    if misread(rows):
        wide = map(_wide, (V, v, U, u, w, c))
        found = backward(slope.float(), means.float(), scores, sums, rows.float(), offsets, *wide)
        return [gradient.to(rows.dtype) for gradient in found]
    own = (slope.float() * means.float()).sum(dim=2)  # (B, K): what every row's share is measured against
    slope, rows, V, v, w = (tensor.contiguous() for tensor in (slope, rows, V, v, w))
    gate_weight, gate_bias = _gate(U, u, V, v)
    (count, width), (branches, hidden), gates = rows.shape, w.shape, 1 if U is None else 2
    shape, launch = _shape("pooling_slopes", rows)
    pieces = _pieces(offsets, count=count, rows=shape["N"])
    P = len(pieces[1])

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device=rows.device)

    slopes = torch.empty(gates, count, hidden, dtype=rows.dtype, device=rows.device)
    dbias, dw = empty(P, gates, hidden), empty(P, branches, hidden)
    _slopes_kernel[(P,)](
        slope, own, scores, sums, rows, *pieces, V, v, gate_weight, gate_bias, w, slopes, dbias, dw,
        count, width, hidden, branches, K=tiles.MOST_BRANCHES, GATED=gates == 2, **shape, **launch,
    )  # fmt: skip
    drows = torch.empty_like(rows)
    shape, launch = _shape("pooling_rows", rows)
    pieces = _pieces(offsets, count=count, rows=shape["N"])
    _rows_kernel[(len(pieces[1]), triton.cdiv(width, shape["D"]))](
        slope, scores, sums, *pieces, slopes, V, gate_weight, drows, count, width, hidden, branches,
        GATED=gates == 2, **shape, **launch,
    )  # fmt: skip
    shape, launch = _shape("pooling_weights", rows)
    each = max(1, triton.cdiv(triton.cdiv(count, shape["N"]), tiles.SHARES)) * shape["N"]
    shares = max(1, triton.cdiv(count, each))
    dweight = empty(shares, gates, hidden, width)
    _weights_kernel[(triton.cdiv(hidden, shape["H"]) * triton.cdiv(width, shape["D"]), gates, shares)](
        slopes, rows, dweight, count, each, width, hidden, **shape, **launch
    )
    by_weight, by_bias = dweight.sum(0), dbias.sum(0)
    of_gates = [gradient[gate] for gate in range(gates) for gradient in (by_weight, by_bias)]
    found = [drows, *of_gates, dw.sum(0), torch.zeros_like(c)]  # a softmax is the same for scores that are all higher
    given = [rows, V, v, *([] if U is None or u is None else [U, u]), w, c]
    return [gradient.to(tensor.dtype) for gradient, tensor in zip(found, given, strict=True)]


def _pieces(offsets: Tensor, *, count: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """`offsets`, the bag of each piece, and the first piece of each bag (B + 1,); nothing waits for the device.

    There may be more pieces than bags need: these lie behind the end of the last one, and have no rows.
    """
    firsts = torch.nn.functional.pad(offsets.diff().add(rows - 1).div(rows, rounding_mode="floor").cumsum(0), (1, 0))
    most = count // rows + len(offsets) - 1
    numbers = torch.arange(most, device=offsets.device)
    bags = torch.searchsorted(firsts, numbers, right=True).sub_(1).clamp_(max=len(offsets) - 2)
    return offsets.contiguous(), bags, firsts


def _shape(kernel: tiles.PoolingKernel, rows: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a program takes and how its products are made, and how it is launched."""
    is_single = rows.dtype == torch.float32
    tile = tiles.POOLING[kernel]["single" if is_single else "half"]
    shape = {"N": tile.rows, "H": tile.hidden, "D": tile.width, "PRECISION": "tf32x3" if is_single else "ieee"}
    return shape, {"num_warps": tile.warps, "num_stages": tile.stages}


def _wide(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.float()


def _gate(U: Tensor | None, u: Tensor | None, V: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The gate's layer; where there is none, something that is not read."""
    return (V, v) if U is None or u is None else (U.contiguous(), u.contiguous())
