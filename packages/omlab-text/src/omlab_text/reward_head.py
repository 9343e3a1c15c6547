"""What a network of transformers has, beside its own parts, where it scores answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

HEAD = "reward_head"


def add_head(network: Any, *, seed: int) -> None:
    """Give a network the head that scores, with weights of variance 1 / (H + 1), in place of one that it may have."""
    width = network.config.get_text_config().hidden_size
    head = nn.Linear(width, 1, device=network.device)
    draw = torch.randn(1, width, generator=torch.Generator().manual_seed(seed)) / (width + 1) ** 0.5
    with torch.no_grad():
        head.weight.copy_(draw)
        head.bias.zero_()
    setattr(network, HEAD, head)
