# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""The sums and their gradient in Triton: the logits are read once in each direction, no class volume is kept.

A program takes a stretch of voxels of one sample in tiles of all classes x some voxels, and writes its own partial
sums; these are added up in a fixed order afterwards, so that the result is the same each time (no atomics).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels.dispatch import on_its_device

_TILE = 4096  # numbers in a tile: what the registers of four warps hold beside its temporaries
_TILES_A_PROGRAM = 16


@triton.jit
def _log_sigmoid(x):
    return tl.minimum(x, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(x)))


@triton.jit
def _load(
    logits, labels, sample, classes, voxels, start, zb, zc, zv, lb, lc, lv, ignore,
    SIGMOID: tl.constexpr, IGNORE: tl.constexpr, C: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    """A tile of logits in float32, its one-hot labels, which of it counts and which of it exists; all (C, V)."""
    c = tl.arange(0, C)[:, None]
    far = c.to(tl.int64)  # the last class may lie 2^31 elements away
    v = start + tl.arange(0, V).to(tl.int64)[None, :]
    inside = (c < classes) & (v < voxels)
    z = tl.load(logits + sample * zb + far * zc + v * zv, mask=inside, other=-float("inf")).to(tl.float32)
    if SIGMOID:
        y = tl.load(labels + sample * lb + far * lc + v * lv, mask=inside, other=0).to(tl.int32)
        one = y != 0
    else:
        y = tl.load(labels + sample * lb + v * lv, mask=v < voxels, other=0).to(tl.int32)
        one = y == c
    counts = inside
    if IGNORE:
        counts = counts & (y != ignore)
    return z, one & counts, counts, inside


@triton.jit
def _sums_kernel(
    logits, labels, partial, classes, voxels, zb, zc, zv, lb, lc, lv, gamma, ignore,
    SIGMOID: tl.constexpr, SQUARED: tl.constexpr, FOCAL: tl.constexpr, IGNORE: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    sample = tl.program_id(1).to(tl.int64)
    overlap = tl.zeros([C], tl.float32)
    size = tl.zeros([C], tl.float32)
    count = tl.zeros([C], tl.float32)
    entropy = tl.zeros([C], tl.float32)
    every = tl.zeros([C], tl.float32)
    focal = tl.zeros([C], tl.float32)
    for tile in range(TILES):
        start = (program.to(tl.int64) * TILES + tile) * V
        if start < voxels:
            z, one, counts, inside = _load(
                logits, labels, sample, classes, voxels, start, zb, zc, zv, lb, lc, lv, ignore, SIGMOID, IGNORE, C, V
            )
            if SIGMOID:
                z = tl.where(inside, z, 0.0)
                p = tl.sigmoid(z)
                entropy += tl.sum(tl.where(counts, -_log_sigmoid(tl.where(one, z, -z)), 0.0), axis=1)
            else:
                # A column beyond the last voxel would be all -inf, and its logarithms NaN.
                z = tl.where(start + tl.arange(0, V)[None, :] < voxels, z, 0.0)
                high = tl.max(z, axis=0)
                logs = z - (high + tl.log(tl.sum(tl.exp(z - high[None, :]), axis=0)))[None, :]
                p = tl.exp(logs)
                entropy += tl.sum(tl.where(one, -logs, 0.0), axis=1)
                every += tl.sum(tl.where(counts, -logs, 0.0), axis=1)
            overlap += tl.sum(tl.where(one, p, 0.0), axis=1)
            size += tl.sum(tl.where(counts, p * p if SQUARED else p, 0.0), axis=1)
            count += tl.sum(one.to(tl.float32), axis=1)
            if FOCAL:
                u = tl.where(one, z, -z)
                u = tl.where(counts, u, 0.0)
                focal += tl.sum(tl.where(counts, -tl.exp(gamma * _log_sigmoid(-u)) * _log_sigmoid(u), 0.0), axis=1)
    c = tl.arange(0, C)
    here = partial + ((sample * tl.num_programs(0) + program) * 6) * classes + c
    tl.store(here, overlap, mask=c < classes)
    tl.store(here + classes, size, mask=c < classes)
    tl.store(here + 2 * classes, count, mask=c < classes)
    tl.store(here + 3 * classes, entropy, mask=c < classes)
    tl.store(here + 4 * classes, every, mask=c < classes)
    tl.store(here + 5 * classes, focal, mask=c < classes)


@triton.jit
def _gradient_kernel(
    slopes, logits, labels, gradient, batch, classes, voxels, zb, zc, zv, lb, lc, lv, gb, gc, gv, gamma, ignore,
    SIGMOID: tl.constexpr, SQUARED: tl.constexpr, FOCAL: tl.constexpr, IGNORE: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * V
    sample = tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    row = slopes + sample * classes + c
    step = batch * classes
    overlap = tl.load(row, mask=c < classes, other=0.0)[:, None]
    size = tl.load(row + step, mask=c < classes, other=0.0)[:, None]
    entropy = tl.load(row + 3 * step, mask=c < classes, other=0.0)[:, None]
    z, one, counts, inside = _load(
        logits, labels, sample, classes, voxels, start, zb, zc, zv, lb, lc, lv, ignore, SIGMOID, IGNORE, C, V
    )
    if SIGMOID:
        z = tl.where(inside, z, 0.0)
        p = tl.sigmoid(z)
    else:
        z = tl.where(start + tl.arange(0, V)[None, :] < voxels, z, 0.0)
        e = tl.exp(z - tl.max(z, axis=0)[None, :])
        p = e / tl.sum(e, axis=0)[None, :]
    q = tl.where(one, overlap, 0.0) + (2.0 * p * size if SQUARED else size)
    if SIGMOID:
        slope = p * (1.0 - p) * q + entropy * (p - one.to(tl.float32))
    else:
        every = tl.load(row + 4 * step, mask=c < classes, other=0.0)[:, None]
        t = p * q - tl.where(one, entropy, 0.0) - every
        slope = t - p * tl.sum(t, axis=0)[None, :]
    if FOCAL:
        focal = tl.load(row + 5 * step, mask=c < classes, other=0.0)[:, None]
        sign = tl.where(one, 1.0, -1.0)
        u = tl.where(counts, z, 0.0) * sign
        right = tl.sigmoid(u)
        rest = tl.exp(gamma * _log_sigmoid(-u))
        slope += focal * sign * rest * (gamma * right * _log_sigmoid(u) - (1.0 - right))
    v = start + tl.arange(0, V).to(tl.int64)[None, :]
    slope = tl.where(counts, slope, 0.0)
    tl.store(
        gradient + sample * gb + c.to(tl.int64)[:, None] * gc + v * gv, slope.to(gradient.dtype.element_ty), mask=inside
    )


@on_its_device
def class_sums(
    logits: Tensor, labels: Tensor, sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None
) -> Tensor:
    """As `plain.class_sums`; `logits` with any strides."""
    batch, classes, voxels = logits.shape
    labels = _readable(labels)
    c, v = _tile(classes)
    programs = triton.cdiv(voxels, v * _TILES_A_PROGRAM)
    partial = torch.empty(batch, programs, 6, classes, dtype=torch.float32, device=logits.device)
    _sums_kernel[(programs, batch)](
        logits, labels, partial, classes, voxels, *logits.stride(), *_label_strides(labels), gamma or 0.0, ignore or 0,
        SIGMOID=sigmoid, SQUARED=squared, FOCAL=gamma is not None, IGNORE=ignore is not None,
        C=c, V=v, TILES=_TILES_A_PROGRAM,
    )  # fmt: skip
    return partial.sum(1, dtype=torch.float64).movedim(1, 0).float().contiguous()


@on_its_device
def class_sums_backward(
    slopes: Tensor, logits: Tensor, labels: Tensor,
    sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None,
) -> Tensor:  # fmt: skip
    """As `plain.class_sums_backward`."""
    batch, classes, voxels = logits.shape
    labels = _readable(labels)
    c, v = _tile(classes)
    gradient = torch.empty_like(logits)
    _gradient_kernel[(triton.cdiv(voxels, v), batch)](
        slopes.float().contiguous(), logits, labels, gradient, batch, classes, voxels,
        *logits.stride(), *_label_strides(labels), *gradient.stride(), gamma or 0.0, ignore or 0,
        SIGMOID=sigmoid, SQUARED=squared, FOCAL=gamma is not None, IGNORE=ignore is not None, C=c, V=v,
    )  # fmt: skip
    return gradient


def _tile(classes: int) -> tuple[int, int]:
    c = triton.next_power_of_2(classes)
    return c, max(8, min(1024, _TILE // c))


def _readable(labels: Tensor) -> Tensor:
    return labels.view(torch.uint8) if labels.dtype == torch.bool else labels


def _label_strides(labels: Tensor) -> tuple[int, int, int]:
    if labels.ndim == 3:
        return labels.stride()  # type: ignore[return-value]
    return labels.stride(0), 0, labels.stride(1)
