"""Learning rates over a training, as factors on the first (or highest) one: what `Recipe.schedule` gives.

Steps count from 0. A schedule that is to change once an epoch is asked for the epoch's first step:

    schedules.poly(step // epoch * epoch, steps=steps)
"""

from __future__ import annotations

import math


def constant(step: int, *, steps: int, warmup: int = 0) -> float:
    """1 after a linear rise over `warmup` steps."""
    return _risen(step, steps=steps, warmup=warmup)


def linear(step: int, *, steps: int, warmup: int = 0, final: float = 0.0) -> float:
    """After the rise, on a straight line from 1 to `final` at `steps`."""
    return _risen(step, steps=steps, warmup=warmup) * (final + (1 - final) * (1 - _share(step, steps, warmup)))


def cosine(step: int, *, steps: int, warmup: int = 0, final: float = 0.0) -> float:
    """After the rise, on half a cosine from 1 to `final` at `steps` (Loshchilov and Hutter 2017, one cycle)."""
    fallen = 0.5 * (1 + math.cos(math.pi * _share(step, steps, warmup)))
    return _risen(step, steps=steps, warmup=warmup) * (final + (1 - final) * fallen)


def poly(step: int, *, steps: int, power: float = 0.9) -> float:
    """(1 - step / steps)^power, as in nnU-Net."""
    return float(_risen(step, steps=steps, warmup=0) * (1 - step / steps) ** power)


def _risen(step: int, *, steps: int, warmup: int) -> float:
    """The factor of the rise: (step + 1) / warmup in the first `warmup` steps, so that none is lost at rate 0."""
    if not 0 <= step <= steps:
        raise ValueError(f"step {step} is not one of 0..{steps}")
    if not 0 <= warmup <= steps:
        raise ValueError(f"the rise over {warmup} steps does not fit into {steps} steps")
    return (step + 1) / warmup if step < warmup else 1.0


def _share(step: int, steps: int, warmup: int) -> float:
    """How much of the way after the rise is done, 0 to 1."""
    return max(step - warmup, 0) / max(steps - warmup, 1)
