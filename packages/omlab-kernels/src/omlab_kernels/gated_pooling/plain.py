"""Gated attention pooling in plain PyTorch: a tile of rows at a time, forwards with a running softmax.

What is kept between the two directions are the scores and a number for each bag and branch: tanh and sigmoid of all
rows, which are most of what autograd would hold, are computed again. Sums go over tiles in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

TILE = 8192
"""Rows at a time: some 16 MB for each of tanh and sigmoid."""


def tiles(places: list[int]) -> Iterator[tuple[int, slice]]:
    """Bag and rows of each tile; none goes over the end of a bag."""
    for bag, (begin, end) in enumerate(pairwise(places)):
        for start in range(begin, end, TILE):
            yield bag, slice(start, min(start + TILE, end))


def wide(tensor: Tensor) -> Tensor:
    """In the type that sums are in: float32 at least."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def gated(rows: Tensor, V: Tensor, v: Tensor, U: Tensor | None, u: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """tanh(V h + v) and sigmoid(U h + u), (N, H); None without a gate. Products are in the type of `rows`."""
    seen = wide(torch.addmm(v, rows, V.mT)).tanh_()
    if U is None or u is None:
        return seen, None
    return seen, wide(torch.addmm(u, rows, U.mT)).sigmoid_()


def forward(
    rows: Tensor,
    offsets: Tensor,
    V: Tensor,
    v: Tensor,
    U: Tensor | None,
    u: Tensor | None,
    w: Tensor,
    c: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The means (B, K, D), the scores (sum N, K) and the logarithms (B, K) of the sums of exponentials."""
    w, c = wide(w), wide(c)
    B, N, K, D = len(offsets) - 1, *rows.shape[:1], len(w), rows.shape[1]
    scores = w.new_empty(N, K)
    best = w.new_full((B, K), -torch.inf)
    sums = w.new_zeros(B, K)
    means = w.new_zeros(B, K, D)
    for bag, tile in tiles(offsets.tolist()):
        seen, gate = gated(rows[tile], V, v, U, u)
        found = torch.addmm(c, seen if gate is None else seen.mul_(gate), w.mT)
        scores[tile] = found
        top = torch.maximum(best[bag], found.amax(dim=0))
        weights = (found - top).exp_()
        shrink = (best[bag] - top).exp_()
        sums[bag] = sums[bag] * shrink + weights.sum(dim=0)
        means[bag] = means[bag] * shrink[:, None] + weights.mT @ wide(rows[tile])
        best[bag] = top
    some = sums.clamp_min(torch.finfo(sums.dtype).tiny)  # of a bag without rows the means stay zeros
    return (means / some[..., None]).to(rows.dtype), scores, best + some.log()


def backward(
    slope: Tensor,
    means: Tensor,
    scores: Tensor,
    sums: Tensor,
    rows: Tensor,
    offsets: Tensor,
    V: Tensor,
    v: Tensor,
    U: Tensor | None,
    u: Tensor | None,
    w: Tensor,
    c: Tensor,
) -> list[Tensor]:
    """Gradients of rows, V, v, U, u, w and c (without a gate none of U and u) for that of the means, `slope`."""
    given = [rows, V, v, *([U, u] if U is not None and u is not None else []), w, c]
    slope = wide(slope)
    w_, V_ = wide(w), wide(V)
    U_ = None if U is None else wide(U)
    dV, dv, dw = torch.zeros_like(V_), V_.new_zeros(len(v)), torch.zeros_like(w_)
    dU, du = torch.zeros_like(V_), torch.zeros_like(dv)
    drows = torch.empty_like(rows, memory_format=torch.contiguous_format)
    own = (slope * wide(means)).sum(dim=2)  # (B, K): what every row's share is measured against
    for bag, tile in tiles(offsets.tolist()):
        part = wide(rows[tile])
        weights = (scores[tile] - sums[bag]).exp_()  # (n, K)
        dscore = weights * (part @ slope[bag].mT - own[bag])
        drow = weights @ slope[bag]
        seen, gate = gated(rows[tile], V, v, U, u)
        inner = dscore @ w_  # (n, H): the gradient of what the scores are made of
        dw += dscore.mT @ (seen if gate is None else seen * gate)
        if gate is not None and U_ is not None:
            dgate = inner * seen * gate * (1 - gate)
            inner *= gate
            dU += dgate.mT @ part
            du += dgate.sum(dim=0)
            drow += dgate @ U_
        inner *= 1 - seen.square()
        dV += inner.mT @ part
        dv += inner.sum(dim=0)
        drows[tile] = (drow + inner @ V_).to(rows.dtype)
    dc = torch.zeros_like(c)  # a softmax is the same for scores that are all higher
    found = [drows, dV, dv, *([] if U is None else [dU, du]), dw, dc]
    return [gradient.to(tensor.dtype) for gradient, tensor in zip(found, given, strict=True)]
