"""`attention_alibi`: causal attention with linear biases, in plain algebra around PyTorch's fused attention.

Softmax does not see what all scores of a query have in common, so that a bias by distance, m (i - j), is one by the
key's place alone, -m j: a number a key in place of the T x T bias. Such a bias is a column of the keys beside a column
of ones of the queries, and fused attention does the rest. In half precision the column is split in three, whose sum is
exact to 24 bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_COLUMNS = 8
"""By which heads are widened: what fused attention on a GPU wants widths to be multiples of."""
_LEVER = 8.0
"""What queries have in their columns, so that those of the keys are small enough for float16."""
_FAR = -2e4
"""The bias of a key that is not seen: e to that is 0, and float16 holds it."""
_SCORES = 1 << 22
"""Scores in one stretch of queries, where these go on from keys that were kept."""


def alibi_slopes(heads: int) -> Tensor:
    """The slope of each head (heads,) in float32: 2^(-8 h / heads) for a power of two.

    Otherwise those of the power below, and then every second one of the power above (Press et al., 2022).
    """
    below = 2 ** int(math.log2(heads))
    powers = [8 * h / below for h in range(1, below + 1)]
    powers += [4 * h / below for h in range(1, 2 * (heads - below) + 1, 2)]
    return torch.tensor([2**-power for power in powers])


def alibi_bias(mask: Tensor, slopes: Tensor) -> Tensor:
    """The bias (B, heads, M) of each key: its place among the tokens that count, times the slope.

    Args:
        mask: (B, M), true for tokens, false for padding.
        slopes: (heads,).
    """
    places = (mask.long().cumsum(1) - 1).clamp(min=0)
    return slopes[:, None] * places[:, None, :]


def attention_alibi(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    *,
    mask: Tensor | None = None,
    offset: int = 0,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Softmax of scale * q k' + bias over the keys up to each query, times the values (`naive.py` has the formula).

    Memory grows with the tokens, not with their square. Differentiable in q, k and v.

    Args:
        q: (B, heads, N, c); the first stands at the place `offset` of the keys.
        k: (B, heads, M, c), M at least `offset` + N; keys after the last query are not seen.
        v: (B, heads, M, c).
        bias: (B, heads, M) of each key, as `alibi_bias` makes it.
        mask: (B, M), true for keys that are seen; None: all. A query whose keys are all hidden has any finite output.
        offset: Keys before the first query, which were kept from earlier calls.
        scale: Left out: c ** -0.5.
        dropout: Share of the weights that is dropped.

    Returns:
        (B, heads, N, c) in the type of q. Under autocast q, k and v take its type first.

    Raises:
        ValueError: Shapes do not fit.
    """
    _check(q, k, v, bias, mask, offset=offset)
    if torch.is_autocast_enabled(q.device.type) and q.dtype != torch.float64:
        q, k, v = (tensor.to(torch.get_autocast_dtype(q.device.type)) for tensor in (q, k, v))
    upto = offset + q.shape[2]
    k, v = k[:, :, :upto], v[:, :, :upto]
    bias = bias.detach()[:, :, :upto].to(torch.promote_types(q.dtype, torch.float32))
    if mask is not None:
        bias = bias.masked_fill(~mask[:, None, :upto], _FAR)
    scale = q.shape[3] ** -0.5 if scale is None else scale
    if offset == 0 and q.shape[2] > 1:
        return _widened(q, k, v, bias, scale=scale, dropout=dropout)
    return _stretched(q, k, v, bias, offset=offset, scale=scale, dropout=dropout)


def _widened(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, *, scale: float, dropout: float) -> Tensor:
    """All queries at once: the bias as columns of the keys."""
    columns = _split(bias / (scale * _LEVER), dtype=k.dtype)
    wide_q = torch.cat([q, q.new_full((1,), _LEVER).expand(*q.shape[:3], _COLUMNS)], -1)
    out = functional.scaled_dot_product_attention(
        wide_q,
        torch.cat([k, columns], -1),
        functional.pad(v, (0, _COLUMNS)),
        is_causal=True,
        scale=scale,
        dropout_p=dropout,
    )
    return out[..., : q.shape[3]]


def _split(bias: Tensor, *, dtype: torch.dtype) -> Tensor:
    """(B, heads, M) -> (B, heads, M, columns) in `dtype`, which add up to it; what is not needed is 0."""
    columns = bias.new_zeros((*bias.shape, _COLUMNS), dtype=dtype)
    for column in range(1 if dtype in (torch.float32, torch.float64) else 3):
        columns[..., column] = bias
        bias = bias - columns[..., column]
    return columns


def _stretched(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, *, offset: int, scale: float, dropout: float) -> Tensor:
    """Some queries at a time, each stretch with the biases of its own keys: one query is one stretch.

    These count from the largest that a query sees, so that the type of q has them precisely where weights are large.
    """
    batch, heads, queries, _ = q.shape
    step = max(1, _SCORES // (batch * heads * k.shape[2]))
    places = torch.arange(k.shape[2], device=k.device)
    largest = bias.cummax(-1).values
    found = []
    for first in range(0, queries, step):
        last = min(first + step, queries)
        upto = offset + last
        scores = bias[:, :, None, :upto] - largest[:, :, offset + first : upto, None]
        if last - first > 1:
            later = places[:upto] > places[offset + first : upto, None]
            scores = scores.masked_fill(later, _FAR)
        found.append(
            functional.scaled_dot_product_attention(
                q[:, :, first:last],
                k[:, :, :upto],
                v[:, :, :upto],
                attn_mask=scores.to(q.dtype),
                scale=scale,
                dropout_p=dropout,
            )
        )
    return found[0] if len(found) == 1 else torch.cat(found, 2)


def _check(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor | None, *, offset: int) -> None:
    shape, keys = tuple(q.shape), tuple(k.shape)
    if q.ndim != 4 or k.ndim != 4 or v.shape != k.shape or keys[:2] != shape[:2] or keys[3] != shape[3]:
        raise ValueError(f"Queries {shape}, keys {keys} and values {tuple(v.shape)} are not (B, heads, N or M, c).")
    if offset < 0 or keys[2] < offset + shape[2]:
        raise ValueError(f"{shape[2]} queries after {offset} keys need as many keys in all, not {keys[2]}.")
    if tuple(bias.shape) != keys[:3]:
        raise ValueError(f"Keys {keys} need a bias {keys[:3]}, not {tuple(bias.shape)}.")
    if mask is not None and tuple(mask.shape) != (keys[0], keys[2]):
        raise ValueError(f"Keys {keys} need a mask {(keys[0], keys[2])}, not {tuple(mask.shape)}.")
