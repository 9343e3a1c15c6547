"""`self_distillation`: the loss of DINO and its kin over all pairs of views, each view read once in each direction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from omlab_kernels.dispatch import form_for
from omlab_kernels.distillation import plain
from omlab_kernels.operator import operator

MOST_VIEWS = 32
"""Views of the student in Triton's form; more of them take the plain one."""
MOST_OF_THE_TEACHER = 4


def self_distillation(
    student: Tensor,
    teacher: Tensor,
    center: Tensor | None = None,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    pairs: Tensor | None = None,
) -> Tensor:
    """The mean cross-entropy of the student's views against the teacher's (`naive.py` has the formula).

    Args:
        student: (V, B, K) logits; the views that the teacher sees come first, in its order.
        teacher: (T, B, K) logits; no gradient goes to them.
        center: (K,), taken off the teacher's; None: nothing is.
        student_temperature: What the student's are divided by.
        teacher_temperature: What the teacher's are divided by.
        pairs: (T, V) weights of the pairs; None: 1 for two different views, 0 for the same one.

    Returns:
        The loss in float32 (float64 for float64 logits).

    Raises:
        ValueError: Shapes do not fit, a temperature is not above 0, or the only view is the same one.
    """
    _check(student, teacher, center, pairs, temperatures=(student_temperature, teacher_temperature))
    V, B, K = student.shape
    T = teacher.shape[0]
    if center is None:
        center = student.new_zeros(K, dtype=torch.float32)
    if pairs is None:
        pairs = 1 - torch.eye(T, V, device=student.device)
    rows, _, _ = _sums(student, teacher.detach(), center.detach(), pairs, student_temperature, teacher_temperature)
    loss: Tensor = rows.sum() / (pairs.sum(dtype=rows.dtype) * B)
    return loss


@operator("self_distillation")
def _sums(
    student: Tensor, teacher: Tensor, center: Tensor, pairs: Tensor, by_student: float, by_teacher: float
) -> tuple[Tensor, Tensor, Tensor]:
    if _is_in_triton(student, teacher):
        from omlab_kernels.distillation import triton

        return triton.forward(student, teacher, center, pairs, by_student, by_teacher)
    return plain.forward(student, teacher, center, pairs, by_student, by_teacher)


@operator("self_distillation_backward")
def _sums_backward(
    gradient: Tensor, student: Tensor, teacher: Tensor, center: Tensor, pairs: Tensor,
    sums: Tensor, sums_teacher: Tensor, by_student: float, by_teacher: float,
) -> Tensor:  # fmt: skip
    given = gradient, student, teacher, center, pairs, sums, sums_teacher, by_student, by_teacher
    if _is_in_triton(student, teacher):
        from omlab_kernels.distillation import triton

        return triton.backward(*given)
    return plain.backward(*given)


@torch.library.register_fake("omlab_kernels::self_distillation")  # type: ignore[untyped-decorator]
def _(
    student: Tensor, teacher: Tensor, center: Tensor, pairs: Tensor, by_student: float, by_teacher: float
) -> tuple[Tensor, Tensor, Tensor]:
    kind = torch.float64 if student.dtype == torch.float64 else torch.float32
    shapes = (student.shape[1],), student.shape[:2], teacher.shape[:2]
    rows, sums, sums_teacher = (student.new_empty(shape, dtype=kind) for shape in shapes)
    return rows, sums, sums_teacher


@torch.library.register_fake("omlab_kernels::self_distillation_backward")  # type: ignore[untyped-decorator]
def _(
    gradient: Tensor, student: Tensor, teacher: Tensor, center: Tensor, pairs: Tensor,
    sums: Tensor, sums_teacher: Tensor, by_student: float, by_teacher: float,
) -> Tensor:  # fmt: skip
    return torch.empty_like(student, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.by_student, ctx.by_teacher = inputs
    ctx.save_for_backward(*tensors, *output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _slope(ctx: Any, gradient: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    return _sums_backward(gradient, *ctx.saved_tensors, ctx.by_student, ctx.by_teacher), None, None, None, None, None


torch.library.register_autograd("omlab_kernels::self_distillation", _slope, setup_context=_keep)


def _is_in_triton(student: Tensor, teacher: Tensor) -> bool:
    few = len(student) <= MOST_VIEWS and len(teacher) <= MOST_OF_THE_TEACHER
    return form_for(student) == "triton" and few and student.numel() > 0


def _check(
    student: Tensor, teacher: Tensor, center: Tensor | None, pairs: Tensor | None, *, temperatures: tuple[float, float]
) -> None:
    if student.ndim != 3 or teacher.ndim != 3 or student.shape[1:] != teacher.shape[1:] or not student.numel():
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"Logits (V, B, K) of the student and (T, B, K) of the teacher are needed, not {shapes}.")
    V, _, K = student.shape
    T = teacher.shape[0]
    if center is not None and tuple(center.shape) != (K,):
        raise ValueError(f"{K} outputs need a center ({K},), not {tuple(center.shape)}.")
    if pairs is not None and tuple(pairs.shape) != (T, V):
        raise ValueError(
            f"{T} views of the teacher and {V} of the student need pairs ({T}, {V}), not {tuple(pairs.shape)}."
        )
    if min(temperatures) <= 0:
        raise ValueError(f"Temperatures must be above 0, not {temperatures[0]} and {temperatures[1]}.")
    if pairs is None and T == V == 1:
        raise ValueError("One view of each network makes no pair of different ones: give more views, or pairs.")
