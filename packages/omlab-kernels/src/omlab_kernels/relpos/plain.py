"""Attention in plain PyTorch, some queries at a time: memory grows with N, not with N x M.

A thin bias is a matrix of low rank: with a table T (M x A) that holds a 1 where a factor's column concerns a key,
score = scale q k' + R T' is one product of [scale q, R] with [k, T], and so is its gradient.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_SCORES = {"cpu": 1 << 20}  # scores in one stretch of queries: what a core's cache holds
_SCORES_ELSEWHERE = 1 << 26


def forward(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, table: Tensor, sink_logit: Tensor | None, sink_value: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Output (B, H, N, c) and the logarithm of each query's sum of exponentials (B, H, N).

    q (B, H, N, c), k and v (B, H, M, c), bias (B, H, N, A), table (M, A) of zeros and ones, sink_logit (B, H, N),
    sink_value (B, H, c).
    """
    keys = _wide_keys(k, table)
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    sums = torch.empty(q.shape[:3], dtype=keys.dtype, device=q.device)
    values = v.to(keys.dtype)
    for part in _stretches(q, k):
        scores = _wide_queries(q, bias, part, scale, keys.dtype) @ keys.transpose(-1, -2)
        total = scores.logsumexp(-1)
        if sink_logit is not None:
            total = torch.logaddexp(total, sink_logit[:, :, part].to(total))
        found = scores.sub_(total.unsqueeze(-1)).exp_() @ values
        if sink_logit is not None and sink_value is not None:
            weight = (sink_logit[:, :, part].to(total) - total).exp()
            found = torch.addcmul(found, weight.unsqueeze(-1), sink_value.to(found).unsqueeze(-2))
        out[:, :, part] = found
        sums[:, :, part] = total
    return out, sums


def backward(
    slope: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    table: Tensor,
    out: Tensor,
    sums: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients by q, k, v and bias, and the sum (B, H, N) of `slope` times the output over c."""
    keys = _wide_keys(k, table)
    head = k.shape[-1]
    by_q, by_bias = (torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (q, bias))
    by_k, by_v = (torch.zeros(k.shape, dtype=keys.dtype, device=k.device) for _ in range(2))
    delta = torch.empty_like(sums)
    values = v.to(keys.dtype)
    for part in _stretches(q, k):
        queries = _wide_queries(q, bias, part, scale, keys.dtype)
        weights = (queries @ keys.transpose(-1, -2)).sub_(sums[:, :, part, None]).exp_()
        slopes = slope[:, :, part].to(keys.dtype)
        delta[:, :, part] = (slopes * out[:, :, part].to(keys.dtype)).sum(-1)
        by_v += weights.transpose(-1, -2) @ slopes
        by_scores = (slopes @ values.transpose(-1, -2)).sub_(delta[:, :, part, None]).mul_(weights)
        by_k += by_scores.transpose(-1, -2) @ queries[..., :head]
        by_wide = by_scores @ keys
        by_q[:, :, part] = scale * by_wide[..., :head]
        by_bias[:, :, part] = by_wide[..., head:]
    return by_q, by_k.to(k.dtype), by_v.to(v.dtype), by_bias, delta


def _wide_keys(k: Tensor, table: Tensor) -> Tensor:
    """[k, table], (B, H, M, c + A), in float32 or float64."""
    kind = _work_type(k)
    return torch.cat([k.to(kind), table.to(kind).expand(*k.shape[:2], -1, -1)], -1)


def _wide_queries(q: Tensor, bias: Tensor, part: slice, scale: float, dtype: torch.dtype) -> Tensor:
    return torch.cat([scale * q[:, :, part].to(dtype), bias[:, :, part].to(dtype)], -1)


def _work_type(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _stretches(q: Tensor, k: Tensor) -> Iterator[slice]:
    limit = _SCORES.get(q.device.type, _SCORES_ELSEWHERE)
    step = max(16, limit // max(1, q.shape[0] * q.shape[1] * k.shape[2]))
    for start in range(0, q.shape[2], step):
        yield slice(start, start + step)
