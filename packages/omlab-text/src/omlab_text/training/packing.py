"""Rows of several documents, of which none sees another: the hidden states are those of each document alone.

Positions begin anew with each document, and a token sees those before it in its own. Where a network takes positions
(rotary, learned) that tells transformers all it needs; one without (ALiBi) is told by the mask and the biases that its
blocks are given.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from omlab.errors import SettingsError
from omlab_text.blocks import blocks_of

_REFUSED = "{} lets documents of one row see each other: train with packed=false, which gives each a row of its own."
_NEAR = 1e-3
"""Share of the hidden states' spread by which packed ones may differ in float32; eight bits more in bfloat16."""


def positions_of(documents: Tensor) -> Tensor:
    """The place (B, T) of each token in its document, by the number of its document (B, T)."""
    place = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return place - torch.where(begins, place, 0).cummax(dim=1).values


def packed_hidden(network: Any, ids: Tensor, documents: Tensor) -> Tensor:
    """The last hidden states (B, T, H) of rows of documents.

    Args:
        network: A causal language model of transformers.
        ids: (B, T), tokens.
        documents: (B, T), the number of each token's document, those of one beside each other; padding is one more.
    """
    positions = positions_of(documents)
    if "position_ids" in inspect.signature(network.base_model.forward).parameters:
        told: AbstractContextManager[None] = nullcontext()
        more = {"position_ids": positions}
    else:
        told, more = _blocks_see(network, documents, positions), {}
    with told:
        found: Tensor = network.base_model(input_ids=ids, use_cache=False, **more).last_hidden_state
    return found


def check_packing(network: Any) -> None:
    """Raise `SettingsError` where a network, in evaluation mode, reads packed documents otherwise than each alone."""
    device, words = network.device, min(network.config.vocab_size, 97)
    ids = torch.arange(24, device=device)[None] * 31 % words
    documents = torch.tensor([[1] * 9 + [2] * 15], device=device)
    with torch.inference_mode():
        packed = packed_hidden(network, ids, documents)[0]
        parts = [network.base_model(input_ids=part, use_cache=False) for part in (ids[:, :9], ids[:, 9:])]
        alone = torch.cat([part.last_hidden_state[0] for part in parts])
    near = _NEAR if packed.dtype == torch.float32 else _NEAR * 2**8
    if (packed - alone).abs().max() > near * alone.std():
        raise SettingsError(_REFUSED.format(type(network).__name__))


@contextmanager
def _blocks_see(network: Any, documents: Tensor, positions: Tensor) -> Iterator[None]:
    """While this is open each block of a network sees the tokens of a document alone, at their places in it."""
    same = documents[:, None, :, None] == documents[:, None, None, :]
    length = documents.shape[1]
    seen = same & torch.ones(length, length, dtype=torch.bool, device=same.device).tril()

    def told(block: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if "alibi" not in given:
            raise SettingsError(_REFUSED.format(type(network).__name__))
        hidden = args[0]
        closed = torch.finfo(hidden.dtype).min
        mask = torch.zeros(seen.shape, dtype=hidden.dtype, device=hidden.device).masked_fill(~seen, closed)
        return args, {**given, "attention_mask": mask, "alibi": _moved(given["alibi"], positions)}

    hooks = [block.register_forward_pre_hook(told, with_kwargs=True) for block in blocks_of(network).values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _moved(alibi: Tensor, positions: Tensor) -> Tensor:
    """Biases (B x heads, 1, T) by place in the row, to those by place in the document."""
    rows, length = positions.shape
    by_row = alibi.view(rows, -1, length)
    return by_row.gather(2, positions[:, None].expand_as(by_row)).view_as(alibi)
