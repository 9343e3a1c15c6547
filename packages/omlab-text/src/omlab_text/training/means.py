"""Means over the tokens that count."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from omlab.errors import SettingsError

Over = Literal["sequences", "tokens"]


def masked_mean(values: Tensor, mask: Tensor, *, over: Over = "tokens") -> Tensor:
    """The mean of values (B, T) where the mask (B, T) is true: a scalar, 0 where nothing counts.

    Over `tokens` all of them weigh alike, so that a long answer weighs more; over `sequences` it is the mean of the
    means of those answers that have a token.
    """
    check_over(over)
    counted = values.masked_fill(~mask, 0)
    if over == "tokens":
        return counted.sum() / mask.sum().clamp(min=1)
    lengths = mask.sum(dim=1)
    return (counted.sum(dim=1) / lengths.clamp(min=1)).sum() / (lengths > 0).sum().clamp(min=1)


def check_over(over: str) -> None:
    """Raise `SettingsError` for what no mean is taken over."""
    if over not in get_args(Over):
        raise SettingsError(f"A mean is over {' or '.join(get_args(Over))}, not '{over}'.")
