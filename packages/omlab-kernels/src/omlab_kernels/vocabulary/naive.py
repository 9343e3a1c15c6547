"""The specification of log-probabilities over a vocabulary: all logits at once, autograd.

Of a token with hidden state h, target t and logits l = W h over words v, with p = softmax(l):

    log p_t = l_t - logsumexp(l)
    H       = - sum over v of p_v log p_v

A token whose target is ignored has 0 for both.
"""

from __future__ import annotations

import torch
from torch import Tensor


def linear_log_probs(hidden: Tensor, output: Tensor, targets: Tensor, *, ignore: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies (...) for hidden (..., H), output (V, H) and targets (...)."""
    logits = hidden @ output.T
    logp = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    counts = targets != ignore
    chosen = logp.gather(-1, targets.where(counts, 0)[..., None])[..., 0]
    return chosen * counts, -(logp.exp() * logp).sum(-1) * counts
