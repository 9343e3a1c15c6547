# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""Self-distillation in Triton: a pass over the logits of both networks forwards, one backwards.

A program walks over a share of the outputs of a sample, in tiles of all the student's views x some outputs. Every place
of a tile keeps a running maximum, a running sum of exponentials, and for each view of the teacher the running sum of
exponential x student; each number takes one exponential. Programs' sums are put together in a fixed order by a second
kernel, so that the result is the same each time (no atomics). Nothing as long as the outputs is stored forwards.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels import tiles
from omlab_kernels.dispatch import on_its_device

_LOG2E = tl.constexpr(1.4426950408889634)
_LN2 = tl.constexpr(0.6931471805599453)
_LOW = tl.constexpr(-1e38)  # below every logit, and still a number: no NaN of infinities


@triton.jit
def _grown(high, z):
    """Of a running maximum and the next numbers: the new one, the factor on what was summed, and the new exponential.

    One of the two factors is 1, so that both take a single exponential; base 2.
    """
    far = z - high
    e = tl.exp2(-tl.abs(far))
    return tl.maximum(high, z), tl.where(far > 0, e, 1.0), tl.where(far > 0, 1.0, e)


@triton.jit
def _student(student, v, k, inside, sv, sb, sample):
    at = student + v.to(tl.int64)[:, None] * sv + sample * sb + k[None, :]
    return tl.load(at, mask=inside, other=-float("inf")).to(tl.float32)


@triton.jit
def _teacher(teacher, view, k, real, tv, tb, sample, c, by_teacher):
    """A view of the teacher, centred and scaled to exponents of 2; where no output is, minus infinity."""
    t = tl.load(teacher + view * tv + sample * tb + k, mask=real, other=0.0).to(tl.float32)
    return tl.where(real, (t - c) * by_teacher, -float("inf"))


@triton.jit
def _sums_kernel(
    student, teacher, center, highs, totals, highs_teacher, totals_teacher, products,
    views, outputs, sv, sb, tv, tb, by_student, by_teacher, T: tl.constexpr, V: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    sample, part = tl.program_id(1).to(tl.int64), tl.program_id(0)
    v = tl.arange(0, V)
    there = v < views
    high = tl.full([V, K], _LOW, tl.float32)
    total = tl.zeros([V, K], tl.float32)
    high0 = tl.full([K], _LOW, tl.float32)
    total0 = tl.zeros([K], tl.float32)
    product0 = tl.zeros([V, K], tl.float32)
    high1, total1, product1 = high0, total0, product0
    high2, total2, product2 = high0, total0, product0
    high3, total3, product3 = high0, total0, product0
    for start in tl.range(part * K, outputs, tl.num_programs(0) * K, num_stages=3):
        k = start + tl.arange(0, K)
        real = k < outputs
        inside = there[:, None] & real[None, :]
        s = _student(student, v, k, inside, sv, sb, sample)
        high, keep, e = _grown(high, s * by_student)
        total = total * keep + e
        s = tl.where(inside, s, 0.0)
        c = tl.load(center + k, mask=real, other=0.0).to(tl.float32)
        high0, keep0, e0 = _grown(high0, _teacher(teacher, 0, k, real, tv, tb, sample, c, by_teacher))
        total0 = total0 * keep0 + e0
        product0 = product0 * keep0[None, :] + e0[None, :] * s
        if T > 1:
            high1, keep1, e1 = _grown(high1, _teacher(teacher, 1, k, real, tv, tb, sample, c, by_teacher))
            total1 = total1 * keep1 + e1
            product1 = product1 * keep1[None, :] + e1[None, :] * s
        if T > 2:
            high2, keep2, e2 = _grown(high2, _teacher(teacher, 2, k, real, tv, tb, sample, c, by_teacher))
            total2 = total2 * keep2 + e2
            product2 = product2 * keep2[None, :] + e2[None, :] * s
        if T > 3:
            high3, keep3, e3 = _grown(high3, _teacher(teacher, 3, k, real, tv, tb, sample, c, by_teacher))
            total3 = total3 * keep3 + e3
            product3 = product3 * keep3[None, :] + e3[None, :] * s
    here = sample * tl.num_programs(0) + part
    top = tl.max(high, axis=1)
    tl.store(highs + here * views + v, top, mask=there)
    tl.store(totals + here * views + v, tl.sum(total * tl.exp2(high - top[:, None]), axis=1), mask=there)
    _store(highs_teacher, totals_teacher, products, here, 0, high0, total0, product0, v, views, T)
    if T > 1:
        _store(highs_teacher, totals_teacher, products, here, 1, high1, total1, product1, v, views, T)
    if T > 2:
        _store(highs_teacher, totals_teacher, products, here, 2, high2, total2, product2, v, views, T)
    if T > 3:
        _store(highs_teacher, totals_teacher, products, here, 3, high3, total3, product3, v, views, T)


@triton.jit
def _store(
    highs, totals, products, here, view: tl.constexpr, high, total, product, v, views, T: tl.constexpr
):  # fmt: skip
    """What a program found of a view of the teacher."""
    top = tl.max(high, axis=0)
    weight = tl.exp2(high - top)
    tl.store(highs + here * T + view, top)
    tl.store(totals + here * T + view, tl.sum(total * weight, axis=0))
    tl.store(products + (here * T + view) * views + v, tl.sum(product * weight[None, :], axis=1), mask=v < views)


@triton.jit
def _together_kernel(
    highs, totals, highs_teacher, totals_teacher, products, pairs, rows, sums, sums_teacher,
    views, programs, batch, by_student, T: tl.constexpr, V: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The programs' sums of a sample put together: its weighed sum of pairs, and the log-sum-exp of each view."""
    sample = tl.program_id(0).to(tl.int64)
    v, part = tl.arange(0, V), tl.arange(0, P)
    there, ran = v < views, part < programs
    both = ran[:, None] & there[None, :]
    at = (sample * programs + part)[:, None] * views + v[None, :]
    high = tl.load(highs + at, mask=both, other=_LOW)
    top = tl.max(high, axis=0)
    total = tl.sum(tl.load(totals + at, mask=both, other=0.0) * tl.exp2(high - top[None, :]), axis=0)
    lse = (top + tl.log2(tl.where(there, total, 1.0))) * _LN2
    tl.store(sums + v.to(tl.int64) * batch + sample, lse, mask=there)
    row = tl.zeros([V], tl.float32)
    for view in tl.static_range(T):
        weight = tl.load(pairs + view * views + v, mask=there, other=0.0).to(tl.float32)
        place = (sample * programs + part) * T + view
        high_t = tl.load(highs_teacher + place, mask=ran, other=_LOW)
        top_t = tl.max(high_t, axis=0)
        share = tl.exp2(high_t - top_t)
        total_t = tl.sum(tl.load(totals_teacher + place, mask=ran, other=0.0) * share, axis=0)
        tl.store(sums_teacher + view * batch + sample, (top_t + tl.log2(total_t)) * _LN2)
        found = tl.load(products + place[:, None] * views + v[None, :], mask=both, other=0.0)
        product = tl.sum(found * share[:, None], axis=0) / total_t
        row += tl.where(there, weight * (lse - product * by_student), 0.0)
    tl.store(rows + sample, tl.sum(row, axis=0))


@triton.jit
def _gradient_kernel(
    gradient, student, teacher, center, pairs, sums, sums_teacher, found,
    views, outputs, batch, sv, sb, tv, tb, by_student, by_teacher, unit,
    T: tl.constexpr, V: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(1).to(tl.int64)
    v, k = tl.arange(0, V), tl.program_id(0) * K + tl.arange(0, K)
    there, real = v < views, k < outputs
    inside = there[:, None] & real[None, :]
    s = _student(student, v, k, inside, sv, sb, sample)
    lse = tl.load(sums + v * batch + sample, mask=there, other=0.0) * _LOG2E
    c = tl.load(center + k, mask=real, other=0.0).to(tl.float32)
    target = tl.zeros([V, K], tl.float32)
    count = tl.zeros([V], tl.float32)
    for view in tl.static_range(T):
        weight = tl.load(pairs + view * views + v, mask=there, other=0.0).to(tl.float32)
        t = _teacher(teacher, view, k, real, tv, tb, sample, c, by_teacher)
        p = tl.exp2(t - tl.load(sums_teacher + view * batch + sample) * _LOG2E)
        target += weight[:, None] * p[None, :]
        count += weight
    slope = count[:, None] * tl.exp2(s * by_student - lse[:, None]) - target
    slope = slope * (tl.load(gradient + sample) * unit)
    at = found + (v.to(tl.int64)[:, None] * batch + sample) * outputs + k[None, :]
    tl.store(at, slope.to(found.dtype.element_ty), mask=inside)


@on_its_device
def forward(
    student: Tensor, teacher: Tensor, center: Tensor, pairs: Tensor, by_student: float, by_teacher: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As `plain.forward`."""
    student, teacher, center, pairs = _readable(student), _readable(teacher), center.contiguous(), pairs.contiguous()
    (V, B, K), T = student.shape, teacher.shape[0]
    numbers, warps, programs = tiles.sweep("distillation", classes=triton.next_power_of_2(V))
    shape = _shape(V, numbers=numbers, warps=warps)
    programs = min(programs, triton.cdiv(K, shape["K"]))

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device=student.device)

    of_student = empty(B, programs, V), empty(B, programs, V)
    of_teacher = empty(B, programs, T), empty(B, programs, T), empty(B, programs, T, V)
    rows, sums, sums_teacher = empty(B), empty(V, B), empty(T, B)
    _sums_kernel[(programs, B)](
        student, teacher, center, *of_student, *of_teacher, V, K, *student.stride()[:2], *teacher.stride()[:2],
        _LOG2E.value / by_student, _LOG2E.value / by_teacher, T=T, **shape,
    )  # fmt: skip
    _together_kernel[(B,)](
        *of_student, *of_teacher, pairs, rows, sums, sums_teacher, V, programs, B, 1 / by_student,
        T=T, V=shape["V"], P=triton.next_power_of_2(programs), num_warps=1,
    )  # fmt: skip
    return rows, sums, sums_teacher


@on_its_device
def backward(
    gradient: Tensor, student: Tensor, teacher: Tensor, center: Tensor, pairs: Tensor,
    sums: Tensor, sums_teacher: Tensor, by_student: float, by_teacher: float,
) -> Tensor:  # fmt: skip
    """As `plain.backward`."""
    student, teacher, center, pairs = _readable(student), _readable(teacher), center.contiguous(), pairs.contiguous()
    (V, B, K), T = student.shape, teacher.shape[0]
    found = torch.empty_like(student, memory_format=torch.contiguous_format)
    numbers, warps, _ = tiles.sweep("distillation_backward", classes=triton.next_power_of_2(V))
    shape = _shape(V, numbers=numbers, warps=warps)
    _gradient_kernel[(triton.cdiv(K, shape["K"]), B)](
        gradient.contiguous(), student, teacher, center, pairs, sums, sums_teacher, found,
        V, K, B, *student.stride()[:2], *teacher.stride()[:2],
        _LOG2E.value / by_student, _LOG2E.value / by_teacher, 1 / by_student, T=T, **shape,
    )  # fmt: skip
    return found


def _shape(views: int, *, numbers: int, warps: int) -> dict[str, Any]:
    """Views and outputs of a tile, and its warps."""
    v = triton.next_power_of_2(views)
    return {"V": v, "K": max(16, numbers // v), "num_warps": warps}


def _readable(logits: Tensor) -> Tensor:
    """With outputs next to each other; views and samples may lie anywhere."""
    return logits if logits.stride(2) == 1 else logits.contiguous()
