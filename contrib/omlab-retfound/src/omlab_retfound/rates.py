"""Learning rates of RETFound's pre-training and fine-tuning."""

from __future__ import annotations

import math

IMAGES = 256
"""The batch that a base learning rate is given for."""


def learning_rate(base: float, *, batch: int) -> float:
    """The rate for `batch` images in a step of all processes: it grows with them (Goyal et al. 2017)."""
    return base * batch / IMAGES


def rate_at(epoch: float, *, epochs: float, warmup: float, highest: float, lowest: float = 0.0) -> float:
    """The rate at a point of training in epochs and parts of one: a line from 0 over `warmup`, then half a cosine.

    Upstream asks for it in every step, for the epoch and the share of it that is done.
    """
    if epoch < warmup:
        return highest * epoch / warmup
    share = (epoch - warmup) / max(epochs - warmup, 1e-12)
    return lowest + (highest - lowest) * 0.5 * (1 + math.cos(math.pi * share))
