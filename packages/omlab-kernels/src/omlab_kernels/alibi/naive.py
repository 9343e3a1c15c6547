"""The specification of attention with linear biases: every score and its distance, autograd.

Of head h with slope m_h, where query i is the token at place i + offset of all keys, and p counts the tokens of a text
(not its padding) before a place,

    score(i, j) = scale * q_i . k_j - m_h (p_(i + offset) - p_j)    for tokens j <= i + offset, else the least number
    out(i)      = softmax over j of score(i, .) times v

Source: Press, Smith, Lewis, Train Short, Test Long: Attention with Linear Biases, ICLR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attention_alibi(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *, mask: Tensor, offset: int, scale: float
) -> Tensor:
    """Output (B, heads, N, c) for q (B, heads, N, c), k and v (B, heads, M, c), slopes (heads,) and mask (B, M)."""
    keys = torch.arange(k.shape[2], device=k.device)
    queries = keys[offset : offset + q.shape[2]]
    places = mask.long().cumsum(1) - 1
    distances = places[:, queries, None] - places[:, None, :]
    scores = scale * q @ k.mT - slopes[:, None, None] * distances[:, None]
    seen = mask[:, None, None, :] & (keys <= queries[:, None])
    return scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(-1) @ v
