"""BLOOM's attention without scores, biases or a mask of T x T, in the place of transformers'.

transformers gives its BLOOM one attention alone, which holds all of these for each layer.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, scaled_dot_product_attention
from transformers import AttentionMaskInterface
from transformers.models.bloom.modeling_bloom import BloomAttention, BloomBlock, BloomModel

from omlab_kernels import attention_alibi

_NAME = "omlab_alibi"


def lean_attention(network: Any) -> None:
    """Put `LeanAttention` in place in a BLOOM of transformers; any other network is left as it is.

    Weights keep their names, and what the network gives stays the same, but for attention weights, which are never
    made. `network.config` says nothing of it, so that copies by configuration are transformers' own.
    """
    AttentionMaskInterface.register(_NAME, seen_keys)
    for module in network.modules():
        if isinstance(module, BloomModel):  # asks for the mask by its configuration
            module.config = copy.copy(module.config)
            module.config._attn_implementation = _NAME
        if isinstance(module, BloomBlock) and isinstance(module.self_attention, BloomAttention):
            module.self_attention = LeanAttention(module.self_attention)  # type: ignore[assignment]


def seen_keys(
    *, q_length: int, kv_length: int, q_offset: int | Tensor, attention_mask: Tensor | None, device: Any, **_: Any
) -> Tensor | None:
    """Which keys (B or 1, M) are seen in transformers' terms, None for all: what comes later is left to the attention.

    But a single query sees no later key: of a cache of one size some are not written yet.
    """
    if q_length > 1 or (isinstance(q_offset, int) and kv_length == q_offset + 1):
        return attention_mask
    written = torch.arange(kv_length, device=device)[None] <= q_offset
    return written if attention_mask is None else attention_mask & written


class LeanAttention(nn.Module):
    """Attention of a BLOOM's layer with the weights of transformers'.

    Args:
        given: What it stands for.
    """

    def __init__(self, given: BloomAttention) -> None:
        super().__init__()
        self.query_key_value, self.dense = given.query_key_value, given.dense
        self.heads, self.layer = given.num_heads, given.layer_idx
        self.dropout, self.hidden_dropout = given.attention_dropout.p, given.hidden_dropout

    def forward(
        self,
        hidden_states: Tensor,
        residual: Tensor,
        alibi: Tensor,
        attention_mask: Tensor | None,
        layer_past: Any = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """As transformers': (B, T, width) to the same, added to `residual`, by the biases (B heads, 1, M) of all keys.

        `attention_mask` is what `seen_keys` gives, or (B, 1, T, M) that is added to scores: of rows with several
        documents, for which scores are made after all.
        """
        batch, length, _width = hidden_states.shape
        fused = self.query_key_value(hidden_states).view(batch, length, self.heads, 3, -1)
        q, k, v = fused.permute(3, 0, 2, 1, 4)
        offset = 0
        if layer_past is not None:
            if length > 1:  # a single one sees all that is not masked, and asking a static cache would stall a GPU
                offset = int(layer_past.get_query_offset(self.layer))  # which changes with the update
            k, v = layer_past.update(k, v, self.layer)
        biases, drop = alibi.view(batch, self.heads, -1), self.dropout if self.training else 0.0
        if attention_mask is not None and attention_mask.ndim == 4:
            scores = biases[:, :, None] + attention_mask
            found = scaled_dot_product_attention(q, k, v, attn_mask=scores.to(q.dtype), dropout_p=drop)
        else:
            found = attention_alibi(
                q,
                k,
                v,
                biases,
                mask=None if attention_mask is None else attention_mask.expand(batch, -1),
                offset=k.shape[2] - 1 if length == 1 else offset,
                dropout=drop,
            )
        output = self.dense(found.transpose(1, 2).flatten(2))
        return residual + dropout(output, self.hidden_dropout, self.training), None
