"""The blocks of a transformer, whatever its family calls them."""

from __future__ import annotations

from typing import Any

from torch import nn

from omlab.errors import TrainingError


def blocks_of(network: Any) -> dict[str, nn.Module]:
    """The blocks of a causal language model of transformers by name, from input to output.

    Raises:
        TrainingError: It has no list of them.
    """
    for name, part in network.named_modules():
        if isinstance(part, nn.ModuleList) and len(part) == network.config.num_hidden_layers:
            return {f"{name}.{place}": block for place, block in enumerate(part)}
    raise TrainingError(f"{type(network).__name__} has no list of its blocks: it cannot be trained here.")
