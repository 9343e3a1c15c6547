"""The same class by class and a few planes at a time: what is held beside the results stays in a CPU's cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_VALUES = {"cpu": 1 << 19}  # scores added at a time
_VOXELS = {"cpu": 1 << 17}  # labels decided at a time
_ELSEWHERE = 1 << 24
_ROUNDING = (1e-6, 1e-14)  # of values interpolated in single and in double precision, relative
_FEWEST_PLANES = 4  # of a stretch of labels: they share what is interpolated within planes


def window_accumulate(
    sums: Tensor,
    scores: Tensor,
    importance: Tensor,
    *,
    start: Sequence[int],
    flip: Sequence[int],
    softmax: bool,
    fresh: bool = False,
) -> None:
    """As `naive.window_accumulate`; the scores may be on another device than the sums."""
    box = [slice(at, at + n) for at, n in zip(start, sums.shape[1:], strict=True)]
    count = max(1, _VALUES.get(scores.device.type, _ELSEWHERE) // max(1, sums[:, 0].numel()))
    for first in range(0, sums.shape[1], count):
        goal = sums[:, first : first + count]
        here = [slice(box[0].start + first, box[0].start + first + goal.shape[1]), *box[1:]]
        there = [
            slice(size - inside.stop, size - inside.start) if axis in flip else inside
            for axis, (inside, size) in enumerate(zip(here, scores.shape[1:], strict=True))
        ]
        part = scores[(slice(None), *there)].to(importance.dtype)
        if softmax:
            part = part.softmax(0)
        if flip:
            part = part.flip([axis + 1 for axis in flip])
        part, weight = part.to(sums.device), importance[tuple(here)]
        if fresh:
            torch.mul(part, weight, out=goal)
        else:
            goal.addcmul_(part, weight)


class _Along(NamedTuple):
    """How some outputs of an axis are made of its inputs `first:last`."""

    first: int
    last: int
    lower: Tensor
    upper: Tensor
    weight: Tensor
    copied: bool
    nearest: bool

    def apply(self, values: Tensor, axis: int) -> Tensor:
        """`values` (three axes, cut to the inputs) interpolated along `axis`."""
        if self.copied:
            return values
        if axis == 2:  # whole lines are copied many times as fast as single voxels: as lines of the transposed
            turned = self.apply(values.reshape(1, -1, values.shape[2]).transpose(1, 2).contiguous(), 1)[0]
            return turned.t().contiguous().view(*values.shape[:2], -1)
        low = values.index_select(axis, self.lower.to(values.device))
        if self.nearest:
            return low
        weight = self.weight.to(values).view([-1 if other == axis else 1 for other in range(3)])
        return low.lerp_(values.index_select(axis, self.upper.to(values.device)), weight)


def _along(lower: Tensor, upper: Tensor, weight: Tensor) -> _Along:
    first, last = int(lower.min()), int(upper.max()) + 1
    nearest = torch.equal(lower, upper)
    lower, upper = lower - first, upper - first
    copied = nearest and torch.equal(lower, torch.arange(last - first))
    return _Along(first, last, lower, upper, weight, copied, nearest)


def window_argmax(scores: Tensor, steps: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """As `naive.window_argmax`."""
    shape = [len(weight) for _, _, weight in steps]
    labels = scores.new_empty(shape, dtype=torch.uint8 if len(scores) <= 256 else torch.int32)
    finite = torch.ones((), dtype=torch.bool, device=scores.device)
    if not labels.numel():
        return labels, finite
    rows, columns = _along(*steps[1]), _along(*steps[2])
    inner = scores[:, :, rows.first : rows.last, columns.first : columns.last]
    voxels = _VOXELS.get(scores.device.type, _ELSEWHERE)
    count = max(_FEWEST_PLANES, voxels // (shape[1] * shape[2]))
    for first in range(0, shape[0], count):
        lower, upper, weight = (part[first : first + count] for part in steps[0])
        planes = _along(lower, upper, weight)
        best = _decide(inner[:, planes.first : planes.last], (planes, rows, columns), labels[first : first + count])
        finite &= torch.isfinite(best).all()
    return labels, finite


def _decide(scores: Tensor, along: tuple[_Along, _Along, _Along], labels: Tensor) -> Tensor:
    """Write the class of the highest score into `labels`; returns that score."""
    planes, rows, columns = along
    kind = torch.float64 if scores.dtype == torch.float64 else torch.float32

    def resampled(index: int) -> Tensor:
        return planes.apply(rows.apply(columns.apply(scores[index].to(kind), 2), 1), 0)

    candidates = _candidates(scores)
    best = resampled(0).clone()
    winner = torch.zeros_like(best)  # comparing and choosing are fastest in the scores' own type
    step = torch.empty_like(best)
    for index in candidates:
        values = resampled(index)
        # Classes rise, so the latest that was higher is the largest: a maximum instead of a masked fill.
        torch.gt(values, best, out=step)
        torch.maximum(winner, step.mul_(index), out=winner)
        torch.maximum(best, values, out=best)
    labels.copy_(winner)
    return best


def _candidates(scores: Tensor) -> list[int]:
    """The classes above 0 that may have the highest score somewhere.

    Interpolation stays between its inputs (but for rounding): a class that is nowhere as high as another is everywhere
    cannot win. Looked at on the CPU only: it would stall a GPU.
    """
    if scores.device.type != "cpu" or not scores.numel():
        return list(range(1, len(scores)))
    low, high = scores.amin((1, 2, 3)).double(), scores.amax((1, 2, 3)).double()
    spare = _ROUNDING[scores.dtype == torch.float64] * torch.maximum(low.abs(), high.abs())
    beaten = high + spare < (low - spare).max()
    return [index for index in range(1, len(scores)) if not beaten[index]]
