"""The learning rate that a recipe advises."""

from __future__ import annotations

from typing import Any


def advised_rate(network: Any, *, all: float, few: float) -> float:
    """`all`, or `few` where less than a tenth of the weights learns (LoRA)."""
    learning = sum(one.numel() for one in network.parameters() if one.requires_grad)
    return few if 10 * learning < sum(one.numel() for one in network.parameters()) else all
