# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""The same in Triton, for any strides: tiles of channels x voxels, lanes along whichever is contiguous.

Forward reads x twice and writes once, backward reads its inputs twice and writes once. Programs make partial sums
in float32, which are added up in float64 in a fixed order; those of the variance are about the channel's first voxel.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels.dispatch import on_its_device

_TILE = 1024
_TILES_A_PROGRAM = 16


@triton.jit
def _tile(base, b, c, v, sb, sc, sv, inside):
    return tl.load(base + b * sb + c[:, None] * sc + v[None, :] * sv, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _moments_kernel(x, partial, channels, voxels, xb, xc, xv, C: tl.constexpr, V: tl.constexpr, TILES: tl.constexpr):
    b = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * C + tl.arange(0, C).to(tl.int64)
    origin = tl.load(x + b * xb + c * xc, mask=c < channels, other=0.0).to(tl.float32)
    first = tl.zeros([C], tl.float32)
    second = tl.zeros([C], tl.float32)
    for tile in range(TILES):
        start = (tl.program_id(0).to(tl.int64) * TILES + tile) * V
        if start < voxels:
            v = start + tl.arange(0, V)
            inside = (c < channels)[:, None] & (v < voxels)[None, :]
            away = tl.where(inside, _tile(x, b, c, v, xb, xc, xv, inside) - origin[:, None], 0.0)
            first += tl.sum(away, axis=1)
            second += tl.sum(away * away, axis=1)
    here = partial + ((b * tl.num_programs(0) + tl.program_id(0)) * 2) * channels + c
    tl.store(here, first, mask=c < channels)
    tl.store(here + channels, second, mask=c < channels)


@triton.jit
def _before(
    x, weight, bias, residual, mean, scale, b, c, v, channels, inside, xb, xc, xv, rb, rc, rv,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """The sum before the activation, the normalised x, and what its gradient is multiplied by."""
    m = tl.load(mean + b * channels + c, mask=c < channels, other=0.0)
    s = tl.load(scale + b * channels + c, mask=c < channels, other=0.0)
    normed = (_tile(x, b, c, v, xb, xc, xv, inside) - m[:, None]) * s[:, None]
    z = normed
    if WEIGHT:
        w = tl.load(weight + c, mask=c < channels, other=0.0).to(tl.float32)
        z = z * w[:, None]
        s = s * w
    if BIAS:
        z += tl.load(bias + c, mask=c < channels, other=0.0).to(tl.float32)[:, None]
    if RESIDUAL:
        z += _tile(residual, b, c, v, rb, rc, rv, inside)
    return z, normed, s


@triton.jit
def _slope_at(z, slope, GELU: tl.constexpr):
    normal = 0.5 * (1.0 + tl.erf(z * 0.7071067811865476)) + z * tl.exp(-0.5 * z * z) * 0.3989422804014327
    return normal if GELU else tl.where(z > 0, 1.0, slope)


@triton.jit
def _output_kernel(
    x, weight, bias, residual, mean, scale, out, channels, voxels, slope,
    xb, xc, xv, rb, rc, rv, ob, oc, ov,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, GELU: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * C + tl.arange(0, C).to(tl.int64)
    v = tl.program_id(0).to(tl.int64) * V + tl.arange(0, V)
    inside = (c < channels)[:, None] & (v < voxels)[None, :]
    z, _, _ = _before(
        x,
        weight,
        bias,
        residual,
        mean,
        scale,
        b,
        c,
        v,
        channels,
        inside,
        xb,
        xc,
        xv,
        rb,
        rc,
        rv,
        WEIGHT,
        BIAS,
        RESIDUAL,
    )
    y = 0.5 * z * (1.0 + tl.erf(z * 0.7071067811865476)) if GELU else tl.where(z > 0, z, slope * z)
    here = out + b * ob + c[:, None] * oc + v[None, :] * ov
    tl.store(here, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _slopes_kernel(
    gradient, x, weight, bias, residual, mean, scale, partial, channels, voxels, slope,
    gb, gc, gv, xb, xc, xv, rb, rc, rv,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, GELU: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * C + tl.arange(0, C).to(tl.int64)
    by_weight = tl.zeros([C], tl.float32)
    by_bias = tl.zeros([C], tl.float32)
    for tile in range(TILES):
        start = (tl.program_id(0).to(tl.int64) * TILES + tile) * V
        if start < voxels:
            v = start + tl.arange(0, V)
            inside = (c < channels)[:, None] & (v < voxels)[None, :]
            z, normed, _ = _before(
                x, weight, bias, residual, mean, scale, b, c, v, channels, inside, xb, xc, xv, rb, rc, rv,
                WEIGHT, BIAS, RESIDUAL,
            )  # fmt: skip
            step = _tile(gradient, b, c, v, gb, gc, gv, inside) * _slope_at(z, slope, GELU)
            by_weight += tl.sum(step * normed, axis=1)
            by_bias += tl.sum(step, axis=1)
    here = partial + ((b * tl.num_programs(0) + tl.program_id(0)) * 2) * channels + c
    tl.store(here, by_weight, mask=c < channels)
    tl.store(here + channels, by_bias, mask=c < channels)


@triton.jit
def _gradient_kernel(
    gradient, x, weight, bias, residual, mean, scale, by_weight, by_bias, by_x, by_z, channels, voxels, slope,
    gb, gc, gv, xb, xc, xv, rb, rc, rv, ob, oc, ov,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, GELU: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * C + tl.arange(0, C).to(tl.int64)
    v = tl.program_id(0).to(tl.int64) * V + tl.arange(0, V)
    inside = (c < channels)[:, None] & (v < voxels)[None, :]
    z, normed, factor = _before(
        x,
        weight,
        bias,
        residual,
        mean,
        scale,
        b,
        c,
        v,
        channels,
        inside,
        xb,
        xc,
        xv,
        rb,
        rc,
        rv,
        WEIGHT,
        BIAS,
        RESIDUAL,
    )
    step = _tile(gradient, b, c, v, gb, gc, gv, inside) * _slope_at(z, slope, GELU)
    first = tl.load(by_bias + b * channels + c, mask=c < channels, other=0.0) / voxels
    second = tl.load(by_weight + b * channels + c, mask=c < channels, other=0.0) / voxels
    there = b * ob + c[:, None] * oc + v[None, :] * ov
    rest = (step - first[:, None] - normed * second[:, None]) * factor[:, None]
    tl.store(by_x + there, rest.to(by_x.dtype.element_ty), mask=inside)
    if RESIDUAL:
        tl.store(by_z + there, step.to(by_z.dtype.element_ty), mask=inside)


@on_its_device
def forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    activation: str, slope: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """As `plain.forward`."""
    batch, channels, voxels = x.shape
    c, v = _shape(x)
    partial = _partial(x, c, v)
    grid = (partial.shape[1], triton.cdiv(channels, c), batch)
    _moments_kernel[grid](x, partial, channels, voxels, *x.stride(), C=c, V=v, TILES=_TILES_A_PROGRAM)
    first, second = (partial.sum(1, dtype=torch.float64) / voxels).unbind(1)
    mean = (first + x[:, :, 0].double()).float()
    scale = ((second - first.square()).clamp_min(0) + eps).rsqrt().float()
    out = torch.empty_like(x)
    _output_kernel[(triton.cdiv(voxels, v), *grid[1:])](
        x, *_given(x, weight, bias, residual), mean, scale, out, channels, voxels, _leak(activation, slope),
        *x.stride(), *_strides(residual), *out.stride(), **_flags(weight, bias, residual, activation), C=c, V=v,
    )  # fmt: skip
    return out, mean, scale


@on_its_device
def backward(
    gradient: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    mean: Tensor, scale: Tensor, activation: str, slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """As `plain.backward`; the gradient before the activation is written only where there is a residual."""
    batch, channels, voxels = x.shape
    c, v = _shape(x)
    partial = _partial(x, c, v)
    grid = (partial.shape[1], triton.cdiv(channels, c), batch)
    flags = _flags(weight, bias, residual, activation)
    given = (gradient, x, *_given(x, weight, bias, residual), mean, scale)
    strides = (*gradient.stride(), *x.stride(), *_strides(residual))
    leak = _leak(activation, slope)
    _slopes_kernel[grid](*given, partial, channels, voxels, leak, *strides, **flags, C=c, V=v, TILES=_TILES_A_PROGRAM)
    by_weight, by_bias = (row.float().contiguous() for row in partial.sum(1, dtype=torch.float64).unbind(1))
    by_x, by_z = torch.empty_like(x), torch.empty_like(x)
    _gradient_kernel[(triton.cdiv(voxels, v), *grid[1:])](
        *given, by_weight, by_bias, by_x, by_z, channels, voxels, leak, *strides, *by_x.stride(), **flags, C=c, V=v
    )
    return by_x, by_z, by_weight, by_bias


def _shape(x: Tensor) -> tuple[int, int]:
    """Channels and voxels of a tile: many voxels of a channel, or, channels-last, many channels of a voxel."""
    if x.stride(2) <= x.stride(1):
        return 1, _TILE
    c = min(64, triton.next_power_of_2(x.shape[1]))
    return c, _TILE // c


def _partial(x: Tensor, c: int, v: int) -> Tensor:
    programs = triton.cdiv(x.shape[2], v * _TILES_A_PROGRAM)
    return torch.empty(x.shape[0], programs, 2, x.shape[1], dtype=torch.float32, device=x.device)


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
