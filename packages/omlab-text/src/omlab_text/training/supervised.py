"""Learning from answers: which tokens of a chat count, and what a network of transformers says of them.

What the assistant said counts, with the token that ends it, in every one of its turns; prompts, instructions and what
tools gave do not.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from omlab.errors import InputError, SettingsError
from omlab_kernels import linear_log_probs
from omlab_text.chat_format import Encoded
from omlab_text.tokens import TransformersTokenizer
from omlab_text.training.packing import packed_hidden

IGNORED = -100
"""The target of a token that does not count, as in torch."""

_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""In the configuration of networks whose logits are more than a product of matrices."""


def targets_of(chat: Encoded) -> list[int]:
    """The token after each of a chat's where the assistant said it, else `IGNORED`.

    Raises:
        InputError: The assistant said nothing that could be learnt.
    """
    targets = [IGNORED] * len(chat.ids)
    for begin, end in chat.answers:
        for place in range(max(begin, 1), end):
            targets[place - 1] = chat.ids[place]
    if all(target == IGNORED for target in targets):
        raise InputError("The chat has no answer of the assistant to learn from.")
    return targets


def trained_texts(chat: Encoded, tokenizer: TransformersTokenizer) -> list[str]:
    """What of a chat is learnt, as text with its special tokens: to be looked at before a training."""
    runs = groupby(targets_of(chat), key=lambda target: target == IGNORED)
    return [
        str(tokenizer.given.decode(list(run), skip_special_tokens=False, clean_up_tokenization_spaces=False))
        for is_ignored, run in runs
        if not is_ignored
    ]


class TargetNetwork(nn.Module):
    """A language model that is called for the log-probabilities of targets: what recipes train.

    Args:
        network: A causal language model of transformers.
        is_packed: Whether rows hold several documents (`omlab_text.training.packing`).

    Raises:
        SettingsError: As `output_matrix`.
    """

    def __init__(self, network: Any, *, is_packed: bool = False) -> None:
        super().__init__()
        output_matrix(network)
        self.network, self.is_packed = network, is_packed

    def forward(self, ids: Tensor, documents: Tensor, targets: Tensor) -> Tensor:
        """Log-probabilities (B, T) in float32, 0 where a target is `IGNORED`.

        `documents` (B, T) is the number of each token's document from 1, 0 for padding, which lies on the right.
        """
        if self.is_packed:
            hidden = packed_hidden(self.network, ids, documents)
        else:
            hidden = hidden_states(self.network, ids, documents > 0)
        return linear_log_probs(hidden, output_matrix(self.network), targets)


def hidden_states(network: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """What goes into the output matrix: (B, T) of tokens, and of what is no padding -> (B, T, H)."""
    found: Tensor = network.base_model(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
    return found


def output_matrix(network: Any) -> Tensor:
    """What makes logits of hidden states, (V, H). Raises `SettingsError` where something else does too."""
    layer = network.get_output_embeddings()
    scaled = [name for name in _SCALED if getattr(network.config, name, None) not in (None, 1, 1.0)]
    if type(layer) is not torch.nn.Linear or layer.bias is not None or scaled:
        found = scaled[0] if scaled else "a layer of its own kind"
        raise SettingsError(
            f"{type(network).__name__} makes its logits with {found}, not of hidden states and a matrix alone: its "
            "loss cannot be computed in blocks."
        )
    weight: Tensor = layer.weight
    return weight
