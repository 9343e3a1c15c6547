# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""The same in Triton, for any strides: tiles of channels x voxels, lanes along whichever is contiguous.

Forward reads x twice and writes once, backward reads its inputs twice and writes once. Programs make partial sums
in float32, which a small kernel adds up in float64 in a fixed order; those of the variance are about the channel's
first voxel. Where a program can hold all voxels of its channels it does the whole of a direction in one launch.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels import tiles
from omlab_kernels.dispatch import on_its_device

_TILES_A_PROGRAM = 8
_WHOLE = 1 << 14
"""Numbers of a program's channels up to which one launch does everything: it is the launches that take the time."""
_FINISH = {"C": 16, "P": 64}
"""Channels and partial sums that are added up at a time."""


@triton.jit
def _tile(base, b, c, v, sb, sc, sv, inside):
    return tl.load(base + b * sb + c[:, None] * sc + v[None, :] * sv, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _own(channels, voxels, C: tl.constexpr, STEP: tl.constexpr):
    """Sample, channels (C,), and from which to which voxel this program goes."""
    begin = tl.program_id(0).to(tl.int64) * STEP
    c = tl.program_id(1) * C + tl.arange(0, C).to(tl.int64)
    return tl.program_id(2).to(tl.int64), c, begin, tl.minimum(begin + STEP, voxels)


@triton.jit
def _moments(x, b, c, begin, end, channels, xb, xc, xv, C: tl.constexpr, V: tl.constexpr):
    """Sums (C,) of x and of its square, about the channel's first voxel."""
    origin = tl.load(x + b * xb + c * xc, mask=c < channels, other=0.0).to(tl.float32)
    first = tl.zeros([C, V], tl.float32)
    second = tl.zeros([C, V], tl.float32)
    for start in tl.range(begin, end, V, num_stages=3):
        v = start + tl.arange(0, V)
        inside = (c < channels)[:, None] & (v < end)[None, :]
        away = tl.where(inside, _tile(x, b, c, v, xb, xc, xv, inside) - origin[:, None], 0.0)
        first += away
        second += away * away
    return tl.sum(first, axis=1), tl.sum(second, axis=1)


@triton.jit
def _mean_and_scale(x, first, second, b, c, channels, voxels, eps, xb, xc):
    """Of a channel, (C,) in float32, from its sums in float64."""
    origin = tl.load(x + b * xb + c * xc, mask=c < channels, other=0.0).to(tl.float64)
    first = first / voxels
    variance = tl.maximum(second / voxels - first * first, 0.0)
    return (first + origin).to(tl.float32), (1.0 / tl.sqrt(variance + eps)).to(tl.float32)


@triton.jit
def _before(
    x, weight, bias, residual, mean, scale, b, c, v, channels, inside, xb, xc, xv, rb, rc, rv,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """The sum before the activation, the normalised x, and what its gradient is multiplied by; mean and scale (C,)."""
    normed = (_tile(x, b, c, v, xb, xc, xv, inside) - mean[:, None]) * scale[:, None]
    z = normed
    if WEIGHT:
        w = tl.load(weight + c, mask=c < channels, other=0.0).to(tl.float32)
        z = z * w[:, None]
        scale = scale * w
    if BIAS:
        z += tl.load(bias + c, mask=c < channels, other=0.0).to(tl.float32)[:, None]
    if RESIDUAL:
        z += _tile(residual, b, c, v, rb, rc, rv, inside)
    return z, normed, scale


@triton.jit
def _output(
    x, weight, bias, residual, mean, scale, out, b, c, begin, end, channels, slope,
    xb, xc, xv, rb, rc, rv, ob, oc, ov,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, GELU: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    for start in tl.range(begin, end, V, num_stages=2):
        v = start + tl.arange(0, V)
        inside = (c < channels)[:, None] & (v < end)[None, :]
        z, _, _ = _before(
            x, weight, bias, residual, mean, scale, b, c, v, channels, inside, xb, xc, xv, rb, rc, rv,
            WEIGHT, BIAS, RESIDUAL,
        )  # fmt: skip
        y = 0.5 * z * (1.0 + tl.erf(z * 0.7071067811865476)) if GELU else tl.where(z > 0, z, slope * z)
        here = out + b * ob + c[:, None] * oc + v[None, :] * ov
        tl.store(here, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _slope_at(z, slope, GELU: tl.constexpr):
    normal = 0.5 * (1.0 + tl.erf(z * 0.7071067811865476)) + z * tl.exp(-0.5 * z * z) * 0.3989422804014327
    return normal if GELU else tl.where(z > 0, 1.0, slope)


@triton.jit
def _slopes(
    gradient, x, weight, bias, residual, mean, scale, b, c, begin, end, channels, slope,
    gb, gc, gv, xb, xc, xv, rb, rc, rv,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, GELU: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    """Gradients (C,) by weight and bias of these voxels."""
    by_weight = tl.zeros([C, V], tl.float32)
    by_bias = tl.zeros([C, V], tl.float32)
    for start in tl.range(begin, end, V, num_stages=3):
        v = start + tl.arange(0, V)
        inside = (c < channels)[:, None] & (v < end)[None, :]
        z, normed, _ = _before(
            x, weight, bias, residual, mean, scale, b, c, v, channels, inside, xb, xc, xv, rb, rc, rv,
            WEIGHT, BIAS, RESIDUAL,
        )  # fmt: skip
        step = _tile(gradient, b, c, v, gb, gc, gv, inside) * _slope_at(z, slope, GELU)
        by_weight += step * normed
        by_bias += step
    return tl.sum(by_weight, axis=1), tl.sum(by_bias, axis=1)


@triton.jit
def _gradient(
    gradient, x, weight, bias, residual, mean, scale, by_weight, by_bias, by_x, by_z, b, c, begin, end,
    channels, voxels, slope, gb, gc, gv, xb, xc, xv, rb, rc, rv, ob, oc, ov,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, GELU: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    first, second = by_bias / voxels, by_weight / voxels
    for start in tl.range(begin, end, V, num_stages=2):
        v = start + tl.arange(0, V)
        inside = (c < channels)[:, None] & (v < end)[None, :]
        z, normed, factor = _before(
            x, weight, bias, residual, mean, scale, b, c, v, channels, inside, xb, xc, xv, rb, rc, rv,
            WEIGHT, BIAS, RESIDUAL,
        )  # fmt: skip
        step = _tile(gradient, b, c, v, gb, gc, gv, inside) * _slope_at(z, slope, GELU)
        there = b * ob + c[:, None] * oc + v[None, :] * ov
        rest = (step - first[:, None] - normed * second[:, None]) * factor[:, None]
        tl.store(by_x + there, rest.to(by_x.dtype.element_ty), mask=inside)
        if RESIDUAL:
            tl.store(by_z + there, step.to(by_z.dtype.element_ty), mask=inside)


@triton.jit
def _two_sums(partial, b, c, channels, programs, C: tl.constexpr, P: tl.constexpr):
    """Both rows of partial sums (B, programs, 2, channels) over the programs, (C,) in float64, always in one order."""
    first = tl.zeros([P, C], tl.float64)
    second = tl.zeros([P, C], tl.float64)
    for start in range(0, programs, P):
        program = start + tl.arange(0, P)[:, None]
        inside = (program < programs) & (c < channels)[None, :]
        here = partial + (b * programs + program) * 2 * channels + c[None, :]
        first += tl.load(here, mask=inside, other=0.0).to(tl.float64)
        second += tl.load(here + channels, mask=inside, other=0.0).to(tl.float64)
    return tl.sum(first, axis=0), tl.sum(second, axis=0)


@triton.jit
def _store_two(out, first, second, b, c, channels, programs):
    here = out + (b * programs + tl.program_id(0)) * 2 * channels + c
    tl.store(here, first, mask=c < channels)
    tl.store(here + channels, second, mask=c < channels)


@triton.jit
def _moments_kernel(x, partial, channels, voxels, xb, xc, xv, C: tl.constexpr, V: tl.constexpr, STEP: tl.constexpr):
    b, c, begin, end = _own(channels, voxels, C, STEP)
    first, second = _moments(x, b, c, begin, end, channels, xb, xc, xv, C, V)
    _store_two(partial, first, second, b, c, channels, tl.num_programs(0))


@triton.jit
def _finish_moments_kernel(
    x, partial, mean, scale, programs, channels, voxels, eps, xb, xc, C: tl.constexpr, P: tl.constexpr
):
    b, c = tl.program_id(1).to(tl.int64), tl.program_id(0) * C + tl.arange(0, C).to(tl.int64)
    first, second = _two_sums(partial, b, c, channels, programs, C, P)
    m, s = _mean_and_scale(x, first, second, b, c, channels, voxels, eps, xb, xc)
    tl.store(mean + b * channels + c, m, mask=c < channels)
    tl.store(scale + b * channels + c, s, mask=c < channels)


@triton.jit
def _forward_kernel(
    x, weight, bias, residual, mean, scale, out, channels, voxels, slope, eps,
    xb, xc, xv, rb, rc, rv, ob, oc, ov,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, GELU: tl.constexpr, WHOLE: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """The output; WHOLE: from the moments on, which are written as well, else with those that are there."""
    b, c, begin, end = _own(channels, voxels, C, STEP)
    if WHOLE:
        first, second = _moments(x, b, c, begin, end, channels, xb, xc, xv, C, V)
        m, s = _mean_and_scale(
            x, first.to(tl.float64), second.to(tl.float64), b, c, channels, voxels, eps, xb, xc
        )  # fmt: skip
        tl.store(mean + b * channels + c, m, mask=c < channels)
        tl.store(scale + b * channels + c, s, mask=c < channels)
    else:
        m = tl.load(mean + b * channels + c, mask=c < channels, other=0.0)
        s = tl.load(scale + b * channels + c, mask=c < channels, other=0.0)
    _output(
        x, weight, bias, residual, m, s, out, b, c, begin, end, channels, slope,
        xb, xc, xv, rb, rc, rv, ob, oc, ov, WEIGHT, BIAS, RESIDUAL, GELU, V,
    )  # fmt: skip


@triton.jit
def _slopes_kernel(
    gradient, x, weight, bias, residual, mean, scale, partial, channels, voxels, slope,
    gb, gc, gv, xb, xc, xv, rb, rc, rv,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, GELU: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    b, c, begin, end = _own(channels, voxels, C, STEP)
    m = tl.load(mean + b * channels + c, mask=c < channels, other=0.0)
    s = tl.load(scale + b * channels + c, mask=c < channels, other=0.0)
    by_weight, by_bias = _slopes(
        gradient, x, weight, bias, residual, m, s, b, c, begin, end, channels, slope,
        gb, gc, gv, xb, xc, xv, rb, rc, rv, WEIGHT, BIAS, RESIDUAL, GELU, C, V,
    )  # fmt: skip
    _store_two(partial, by_weight, by_bias, b, c, channels, tl.num_programs(0))


@triton.jit
def _finish_slopes_kernel(partial, by_weight, by_bias, programs, channels, C: tl.constexpr, P: tl.constexpr):
    b, c = tl.program_id(1).to(tl.int64), tl.program_id(0) * C + tl.arange(0, C).to(tl.int64)
    first, second = _two_sums(partial, b, c, channels, programs, C, P)
    tl.store(by_weight + b * channels + c, first.to(tl.float32), mask=c < channels)
    tl.store(by_bias + b * channels + c, second.to(tl.float32), mask=c < channels)


@triton.jit
def _backward_kernel(
    gradient, x, weight, bias, residual, mean, scale, by_weight, by_bias, by_x, by_z, channels, voxels, slope,
    gb, gc, gv, xb, xc, xv, rb, rc, rv, ob, oc, ov,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, GELU: tl.constexpr, WHOLE: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """The gradient by x; WHOLE: from those by weight and bias on, which are written as well."""
    b, c, begin, end = _own(channels, voxels, C, STEP)
    m = tl.load(mean + b * channels + c, mask=c < channels, other=0.0)
    s = tl.load(scale + b * channels + c, mask=c < channels, other=0.0)
    if WHOLE:
        w, d = _slopes(
            gradient, x, weight, bias, residual, m, s, b, c, begin, end, channels, slope,
            gb, gc, gv, xb, xc, xv, rb, rc, rv, WEIGHT, BIAS, RESIDUAL, GELU, C, V,
        )  # fmt: skip
        tl.store(by_weight + b * channels + c, w, mask=c < channels)
        tl.store(by_bias + b * channels + c, d, mask=c < channels)
    else:
        w = tl.load(by_weight + b * channels + c, mask=c < channels, other=0.0)
        d = tl.load(by_bias + b * channels + c, mask=c < channels, other=0.0)
    _gradient(
        gradient, x, weight, bias, residual, m, s, w, d, by_x, by_z, b, c, begin, end, channels, voxels, slope,
        gb, gc, gv, xb, xc, xv, rb, rc, rv, ob, oc, ov, WEIGHT, BIAS, RESIDUAL, GELU, V,
    )  # fmt: skip


@on_its_device
def forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    activation: str, slope: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """As `plain.forward`."""
    batch, channels, voxels = x.shape
    shape, whole = _shape(x)
    out = torch.empty_like(x)
    mean, scale = (torch.empty(batch, channels, dtype=torch.float32, device=x.device) for _ in range(2))
    grid = (triton.cdiv(voxels, shape["STEP"]), triton.cdiv(channels, shape["C"]), batch)
    if not whole:
        partial = torch.empty(batch, grid[0], 2, channels, dtype=torch.float32, device=x.device)
        _moments_kernel[grid](x, partial, channels, voxels, *x.stride(), **shape)
        _finish_moments_kernel[(triton.cdiv(channels, _FINISH["C"]), batch)](
            x, partial, mean, scale, grid[0], channels, voxels, eps, *x.stride()[:2], **_FINISH
        )
    _forward_kernel[grid](
        x, *_given(x, weight, bias, residual), mean, scale, out, channels, voxels, _leak(activation, slope), eps,
        *x.stride(), *_strides(residual), *out.stride(), WHOLE=whole,
        **_flags(weight, bias, residual, activation), **shape,
    )  # fmt: skip
    return out, mean, scale


@on_its_device
def backward(
    gradient: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    mean: Tensor, scale: Tensor, activation: str, slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """As `plain.backward`."""
    batch, channels, voxels = x.shape
    shape, whole = _shape(x)
    by_x = torch.empty_like(x)
    by_z = x.new_empty(0) if residual is None else torch.empty_like(x)
    by_weight, by_bias = torch.empty_like(mean), torch.empty_like(mean)
    grid = (triton.cdiv(voxels, shape["STEP"]), triton.cdiv(channels, shape["C"]), batch)
    flags = _flags(weight, bias, residual, activation)
    given = (gradient, x, *_given(x, weight, bias, residual), mean, scale)
    strides = (*gradient.stride(), *x.stride(), *_strides(residual))
    leak = _leak(activation, slope)
    if not whole:
        partial = torch.empty(batch, grid[0], 2, channels, dtype=torch.float32, device=x.device)
        _slopes_kernel[grid](*given, partial, channels, voxels, leak, *strides, **flags, **shape)
        _finish_slopes_kernel[(triton.cdiv(channels, _FINISH["C"]), batch)](
            partial, by_weight, by_bias, grid[0], channels, **_FINISH
        )
    _backward_kernel[grid](
        *given, by_weight, by_bias, by_x, by_z, channels, voxels, leak, *strides, *by_x.stride(),
        WHOLE=whole, **flags, **shape,
    )  # fmt: skip
    return by_x, by_z, by_weight, by_bias


def _shape(x: Tensor) -> tuple[dict[str, int], bool]:
    """Channels and voxels of a tile, voxels of a program, and whether those are all that there are.

    A tile is many voxels of a channel or, channels-last, many channels of a voxel.
    """
    c = 1 if x.stride(2) <= x.stride(1) else min(64, triton.next_power_of_2(x.shape[1]))
    numbers, warps, _ = tiles.sweep("norm")
    v = numbers // c
    whole = x.shape[2] * c <= _WHOLE
    step = triton.cdiv(_WHOLE, c) if whole else v * _TILES_A_PROGRAM
    return {"C": c, "V": v, "STEP": step, "num_warps": warps}, whole


def _given(x: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
    """A pointer for each, though nothing is read from one that stands for None."""
    return tuple(x if tensor is None else tensor for tensor in tensors)


def _strides(residual: Tensor | None) -> tuple[int, ...]:
    return (0, 0, 0) if residual is None else residual.stride()


def _leak(activation: str, slope: float) -> float:
    return {"relu": 0.0, "none": 1.0}.get(activation, slope)


def _flags(weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, activation: str) -> dict[str, Any]:
    given = {"WEIGHT": weight, "BIAS": bias, "RESIDUAL": residual}
    return {**{name: tensor is not None for name, tensor in given.items()}, "GELU": activation == "gelu"}
