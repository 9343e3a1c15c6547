"""The specification of attention with a relative position: the whole matrix of scores, autograd.

With factors R^f (N x A_f) and, for each key j, the column t_f(j) of factor f that concerns it,

    score(i, j) = scale * q_i . k_j + sum_f R^f[i, t_f(j)]
    out(i)      = softmax over j of score(i, .) times v

The sink is one further key: its score for query i is sink_logit(i), its value sink_value. It stands for any number of
keys with the same value (the pads of a window): its logit is the logarithm of their summed exponentials, -inf for none.

The textbook relative position of a D x H x W grid (SAM; Li et al., MViTv2, CVPR 2022) has the factors R^d = q Rd
(N x D), R^h, R^w and t_d(j) = d_j, ...; SAM-Med3D's published form has the factors U (N x W), F (N x D W), G (N x H W).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def attention_relpos(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    factors: Sequence[tuple[Tensor, Tensor]] = (),
    *,
    scale: float,
    sink_logit: Tensor | None = None,
    sink_value: Tensor | None = None,
) -> Tensor:
    """Output (B, heads, N, c) for q (B, heads, N, c) and k, v (B, heads, M, c); more in `op.attention_relpos`."""
    scores = scale * q @ k.transpose(-1, -2)
    for factor, key_index in factors:
        scores = scores + factor[..., key_index]
    if sink_logit is None or sink_value is None:
        return scores.softmax(-1) @ v
    weights = torch.cat([scores, sink_logit.unsqueeze(-1)], -1).softmax(-1)
    return weights[..., :-1] @ v + weights[..., -1:] * sink_value.unsqueeze(-2)
