"""Learning rates of USFM's fine-tuning: by batch, by layer, over the steps.

Upstream gives timm's scheduler groups whose rate already has the layer's factor, and the scheduler takes that factor
once more: a layer-wise decay of 0.65 acts as 0.4225 would. Here it acts once; `published_rate` is what upstream does.
"""

from __future__ import annotations

import math

REFERENCE_BATCH = 512
"""Base rates are those of a step of so many images."""


def scaled_rate(base: float, *, batch: int, devices: int = 1, accumulate: int = 1) -> float:
    """A base rate (first, highest or last) for a step of `batch` images on each device."""
    return base * batch * devices * accumulate / REFERENCE_BATCH


def rate(step: int, *, steps: int, warmup: int, highest: float, first: float, last: float) -> float:
    """In the first `warmup` steps on a line from `first` towards `highest`, then on half a cosine to `last`.

    The cosine counts from step 0, not from the end of the rise, as published: it begins a little below `highest`.
    """
    if step < warmup:
        return first + step * (highest - first) / warmup
    if step >= steps:
        return last
    return last + (highest - last) * (1 + math.cos(math.pi * step / steps)) / 2


def factor(step: int, *, steps: int, warmup: int, highest: float, first: float, last: float) -> float:
    """`rate` as the factor on every group's rate, whatever the layer's own: what `Recipe.schedule` gives."""
    return rate(step, steps=steps, warmup=warmup, highest=highest, first=first, last=last) / highest


def published_rate(
    step: int, *, scale: float, steps: int, warmup: int, highest: float, first: float, last: float
) -> float:
    """The rate of a layer with the factor `scale` in upstream's training, in which it acts twice.

    `first` and `last` are the same for every layer before the second factor, so that low layers fall towards `first`.
    """
    return scale * rate(step, steps=steps, warmup=warmup, highest=scale * highest, first=first, last=last)
