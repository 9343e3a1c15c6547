"""What is done to gradients between a backward pass and a step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


@torch.no_grad()
def clip_each(parameters: Iterable[nn.Parameter], *, norm: float) -> None:
    """Shorten the gradient of each parameter by itself to at most `norm`, as DINO does."""
    for parameter in parameters:
        if parameter.grad is not None:
            nn.utils.clip_grad_norm_([parameter], norm)
