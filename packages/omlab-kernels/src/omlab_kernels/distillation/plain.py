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
        s, t = student[:, some].to(kind), (teacher[:, some].to(kind) - taken) / by_teacher
        sums[:, some] = _log_sum_exp(s / by_student)
        sums_teacher[:, some] = _log_sum_exp(t.clone())
        p = t.sub_(sums_teacher[:, some, None]).exp_()
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
    for some in _blocks(student):
        q = (student[:, some].to(kind) / by_student).sub_(sums[:, some, None]).exp_()
        p = ((teacher[:, some].to(kind) - taken) / by_teacher).sub_(sums_teacher[:, some, None]).exp_()
        slope = q.mul_(weights.sum(0)[:, None, None])
        slope.flatten(1).addmm_(weights.T, p.flatten(1), alpha=-1)
        found[:, some] = slope.mul_(gradient[some, None].to(kind) / by_student)
    return found


def _kind(student: Tensor) -> torch.dtype:
    return torch.float64 if student.dtype == torch.float64 else torch.float32


def _blocks(student: Tensor) -> Iterator[slice]:
    views, batch, outputs = student.shape
    step = max(1, _HELD // max(1, views * outputs))
    return (slice(first, min(first + step, batch)) for first in range(0, batch, step))


def _log_sum_exp(scaled: Tensor) -> Tensor:
    """Over the last axis, in the memory of what is given."""
    high = scaled.amax(dim=-1, keepdim=True)
    return scaled.sub_(high).exp_().sum(dim=-1).log_().add_(high[..., 0])
