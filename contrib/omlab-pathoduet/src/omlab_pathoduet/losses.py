"""What the pre-training tasks compare, and how: keys, projections, styles of tokens, places."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SIMILAR = 1.001
"""What the mean cosine similarity is taken from in the tasks: a loss that stays above 0."""


def contrast(queries: Tensor, keys: Tensor, *, temperature: float, rank: int = 0) -> Tensor:
    """InfoNCE as MoCo v3 has it (Chen et al., ICCV 2021, algorithm 1), a scalar, times 2 temperature.

    Args:
        queries: (N, C) of this process.
        keys: (M, C) of all processes, one after the other; that of query n stands at n + N rank.
        temperature: Logits are cosines divided by it.
        rank: Number of this process.
    """
    with torch.autocast(queries.device.type, enabled=False):
        q, k = (functional.normalize(one.float(), dim=1, eps=1e-12) for one in (queries, keys))
        logits = q @ k.T / temperature
        right = torch.arange(len(q), device=q.device) + len(q) * rank
        return functional.cross_entropy(logits, right) * (2 * temperature)


def dissimilarity(one: Tensor, other: Tensor, *, most: float = _SIMILAR) -> Tensor:
    """`most` less the mean cosine similarity of rows (N, C), a scalar, as BYOL compares (Grill et al., 2020)."""
    return most - functional.cosine_similarity(one.float(), other.float(), dim=1, eps=1e-8).mean()


def restyled(tokens: Tensor, *, style: int = 0) -> Tensor:
    """Tokens (B, N, D) with their mean put to that of the style: (x - mean) / deviation + the token number `style`.

    Mean and (unbiased) deviation are each sample's and channel's own over all N tokens.
    """
    mean, deviation = tokens.mean(dim=1, keepdim=True), tokens.std(dim=1, keepdim=True)
    return (tokens - mean) / deviation + tokens[:, style : style + 1]


def placed(patches: Tensor, logits: Tensor) -> Tensor:
    """The mean of patches (B, L, D) weighted by the softmax of where something is thought to be (B, L): (B, D)."""
    weights = logits.softmax(dim=1).to(patches.dtype)
    return torch.einsum("bl,bld->bd", weights, patches)
