"""The policy that another one is held near: a copy of it, its moving average, or it without its additions (LoRA)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from omlab.errors import SettingsError


class Reference:
    """The policy as it was when this was made.

    Where the policy has low-rank additions, of which the first is worth nothing, it is the same network without them,
    and takes no room.

    Args:
        network: The policy, which is trained later.
        decay: After each `follow` it is so much of itself, and the rest of the policy; 1: it stays.

    Raises:
        SettingsError: It is to follow a policy with additions.
    """

    def __init__(self, network: Any, *, decay: float = 1.0) -> None:
        self.policy, self.decay = network, decay
        self.additions = [part for part in network.modules() if hasattr(part, "base_layer")]
        if self.additions and decay < 1:
            raise SettingsError("A reference that follows the policy needs weights of its own: not with lora.")
        self.network = network if self.additions else copy.deepcopy(network).requires_grad_(False)

    @contextmanager
    def in_place(self) -> Iterator[Any]:
        """The network that is the reference, inside this context."""
        for part in self.additions:
            part.enable_adapters(False)
        try:
            yield self.network
        finally:
            for part in self.additions:
                part.enable_adapters(True)

    @torch.no_grad()
    def follow(self) -> None:
        """Come nearer to the policy as it is now."""
        if self.decay < 1:
            for mine, theirs in zip(self.network.parameters(), self.policy.parameters(), strict=True):
                mine.lerp_(theirs, 1 - self.decay)

    @property
    def kept(self) -> nn.Module | None:
        """What a checkpoint must hold to have this again; None: the policy as it began is enough."""
        return self.network if self.decay < 1 else None
