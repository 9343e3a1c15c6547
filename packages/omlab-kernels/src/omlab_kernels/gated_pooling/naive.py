"""The specification of gated attention pooling over packed bags.

A row h of a bag has for each branch k the score

    s_k = w_k . (tanh(V h + v) * sigmoid(U h + u)) + c_k

(without a gate: w_k . tanh(V h + v) + c_k), and a bag has for each branch the mean of its rows, weighted by the softmax
of their scores over the bag. A bag without rows has zeros.

Source: Ilse, Tomczak and Welling, Attention-based Deep Multiple Instance Learning, ICML 2018, equations 8 and 9.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


def scores_of(
    rows: Tensor,
    value: tuple[Tensor, Tensor],
    gate: tuple[Tensor, Tensor] | None,
    score: tuple[Tensor, Tensor],
) -> Tensor:
    """The scores (N, K) of rows (N, D); weights and biases are those of `torch.nn.functional.linear`."""
    seen = torch.nn.functional.linear(rows, *value).tanh()
    if gate is not None:
        seen = seen * torch.nn.functional.linear(rows, *gate).sigmoid()
    return torch.nn.functional.linear(seen, *score)


def gated_pooling(
    rows: Tensor,
    offsets: Tensor,
    *,
    value: tuple[Tensor, Tensor],
    gate: tuple[Tensor, Tensor] | None,
    score: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """The means (B, K, D) and the scores (sum N, K).

    Args:
        rows: (sum N, D), those of B bags one after another.
        offsets: (B + 1,), where each begins.
        value: V (H, D) and v (H,).
        gate: U (H, D) and u (H,), or None.
        score: w (K, H) and c (K,).
    """
    scores = scores_of(rows, value, gate, score)
    places = offsets.tolist()
    bags = [slice(begin, end) for begin, end in pairwise(places)]
    return torch.stack([scores[bag].softmax(dim=0).T @ rows[bag] for bag in bags]), scores
