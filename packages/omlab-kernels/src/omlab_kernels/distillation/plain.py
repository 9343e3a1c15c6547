"""The loss of self-distillation in plain PyTorch: by log-sum-exp, a few samples at a time.

A teacher's probabilities sum to 1, so - sum p_i q_v = lse(s_v / a) - <p_i, s_v> / a: a view takes one log-sum-exp
however many pairs it is in, and all pairs of a sample are one small product. What is held at a time is of a few
samples; probabilities of the whole batch are never stored, neither network's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_HELD = 1 << 20
"""Numbers of each network that are held at a time, unless a single sample has more."""


def forward(
    student: Tensor, teacher: Tensor, center: Tensor, pairs: Tensor, by_student: float, by_teacher: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The weighed sum of a sample's pairs (B,), and the log-sum-exp of each view, (V, B) and (T, B)."""
    kind = _kind(student)
    weights, taken = pairs.to(kind), center.to(kind)
    rows = student.new_empty(student.shape[1], dtype=kind)
    sums = student.new_empty(student.shape[:2], dtype=kind)
    sums_teacher = student.new_empty(teacher.shape[:2], dtype=kind)
    for some in _blocks(student):
        s, t = student[:, some].to(kind), teacher[:, some].to(kind) - taken
        sums[:, some] = _log_sum_exp(s, by=by_student)
        sums_teacher[:, some] = _log_sum_exp(t, by=by_teacher)
        p = _exponentials(t, sums_teacher[:, some], by=by_teacher)
        products = torch.bmm(p.transpose(0, 1), s.permute(1, 2, 0)) / by_student  # (b, T, V)
        rows[some] = weights.sum(0) @ sums[:, some] - (products * weights).sum(dim=(1, 2))
    return rows, sums, sums_teacher


def backward(
    gradient: Tensor, student: Tensor, teacher: Tensor, center: Tensor, pairs: Tensor,
    sums: Tensor, sums_teacher: Tensor, by_student: float, by_teacher: float,
) -> Tensor:  # fmt: skip
    """The gradient of `student`, in its type, for the gradient (B,) of the samples' sums."""
    kind = _kind(student)
    weights, taken = pairs.to(kind), center.to(kind)
    found = torch.empty_like(student, memory_format=torch.contiguous_format)
    counted = sums - weights.sum(0).log()[:, None]  # in the exponent: a view counts once for each of its pairs
    for some in _blocks(student):
        slope = _exponentials(student[:, some].to(kind), counted[:, some], by=by_student)
        p = _exponentials(teacher[:, some].to(kind) - taken, sums_teacher[:, some], by=by_teacher)
        slope.flatten(1).addmm_(weights.T, p.flatten(1), alpha=-1)
        torch.mul(slope, gradient[some, None].to(kind) / by_student, out=found[:, some])
    return found


def _kind(student: Tensor) -> torch.dtype:
    return torch.float64 if student.dtype == torch.float64 else torch.float32


def _blocks(student: Tensor) -> Iterator[slice]:
    views, batch, outputs = student.shape
    step = max(1, _HELD // max(1, views * outputs))
    return (slice(first, min(first + step, batch)) for first in range(0, batch, step))


def _log_sum_exp(logits: Tensor, *, by: float) -> Tensor:
    """Of logits divided by a temperature, over the last axis."""
    high = logits.amax(dim=-1) / by
    return _exponentials(logits, high, by=by).sum(dim=-1).log_().add_(high)


def _exponentials(logits: Tensor, less: Tensor, *, by: float) -> Tensor:
    """exp(logits / by - less), `less` by rows."""
    return torch.add(-less[..., None], logits, alpha=1 / by).exp_()
