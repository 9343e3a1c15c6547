# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""The sums and their gradient in Triton: the logits are read once in each direction, no class volume is kept.

A fixed number of programs walk over the voxels of a sample in tiles of all classes x some voxels. Each number of a tile
takes one exponential, and adds into sums of its own place in the tile, which are added up once at the end: within a
program, then over the programs in a fixed order, so that the result is the same each time (no atomics).
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


@triton.jit
def _load(
    logits, labels, sample, classes, voxels, start, zb, zc, zv, lb, lc, lv, ignore,
    SIGMOID: tl.constexpr, IGNORE: tl.constexpr, C: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    """A tile of logits in float32, its labels, where it is the label, what counts, what exists, (C or 1, V).

    The last is which voxels exist, (V,).
    """
    c = tl.arange(0, C)[:, None]
    far = c.to(tl.int64)  # the last class may lie 2^31 elements away
    v = start + tl.arange(0, V).to(tl.int64)
    real = v < voxels
    inside = (c < classes) & real[None, :]
    z = tl.load(logits + sample * zb + far * zc + v[None, :] * zv, mask=inside, other=-float("inf")).to(tl.float32)
    if SIGMOID:
        y = tl.load(labels + sample * lb + far * lc + v[None, :] * lv, mask=inside, other=0).to(tl.int32)
        one = (y != 0) & inside
        z = tl.where(inside, z, 0.0)
    else:
        y = tl.load(labels + sample * lb + v * lv, mask=real, other=-1).to(tl.int32)[None, :]
        one = (y == c) & inside
    counts = inside
    if IGNORE:
        counts = counts & (y != ignore)
        one = one & counts
    return z, y, one, counts, inside, real


@triton.jit
def _softmax(z, real):
    """Of a tile its softmax, and the logarithm to the base 2 of it; of voxels that are not there zeros and -inf."""
    z = z * _LOG2E
    high = tl.where(real, tl.max(z, axis=0), 0.0)[None, :]
    e = tl.exp2(z - high)
    total = tl.where(real, tl.sum(e, axis=0), 1.0)[None, :]
    return e * (1.0 / total), z - (high + tl.log2(total))


@triton.jit
def _log_sigmoids(z):
    """The logarithms of the sigmoid of z and of -z, and the sigmoid."""
    e = tl.exp2(-tl.abs(z) * _LOG2E)
    log = tl.log(1.0 + e)
    p = tl.where(z >= 0, 1.0, e) / (1.0 + e)
    return tl.minimum(z, 0.0) - log, tl.minimum(-z, 0.0) - log, p


@triton.jit
def _sums_kernel(
    logits, labels, partial, classes, voxels, zb, zc, zv, lb, lc, lv, gamma, ignore,
    SIGMOID: tl.constexpr, SQUARED: tl.constexpr, FOCAL: tl.constexpr, IGNORE: tl.constexpr, EVERY: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    programs = tl.num_programs(0)
    sample = tl.program_id(1).to(tl.int64)
    overlap = tl.zeros([C, V], tl.float32)
    size = tl.zeros([C, V], tl.float32)
    count = tl.zeros([C, V], tl.float32)
    entropy = tl.zeros([C, V], tl.float32)
    every = tl.zeros([C, V], tl.float32)
    focal = tl.zeros([C], tl.float32)
    for start in tl.range(tl.program_id(0) * V, voxels, programs * V, num_stages=3):
        z, _, one, counts, _, real = _load(
            logits, labels, sample, classes, voxels, start, zb, zc, zv, lb, lc, lv, ignore, SIGMOID, IGNORE, C, V
        )
        if SIGMOID:
            right, wrong, p = _log_sigmoids(z)
            entropy += tl.where(counts, -tl.where(one, right, wrong), 0.0)
        else:
            p, logs = _softmax(z, real)
            entropy += tl.where(one, -logs, 0.0)
            if EVERY:
                every += tl.where(counts, -logs, 0.0)
        overlap += tl.where(one, p, 0.0)
        if SIGMOID or IGNORE:
            p = tl.where(counts, p, 0.0)  # else it is 0 already where nothing is
        size += p * p if SQUARED else p
        count += tl.where(one, 1.0, 0.0)
        if FOCAL:
            right, wrong, _ = _log_sigmoids(tl.where(counts, tl.where(one, z, -z), 0.0))
            focal += tl.sum(tl.where(counts, -tl.exp(gamma * wrong) * right, 0.0), axis=1)
    unit = 1.0 if SIGMOID else _LN2
    c = tl.arange(0, C)
    here = partial + ((sample * programs + tl.program_id(0)) * 6) * classes + c
    tl.store(here, tl.sum(overlap, axis=1), mask=c < classes)
    tl.store(here + classes, tl.sum(size, axis=1), mask=c < classes)
    tl.store(here + 2 * classes, tl.sum(count, axis=1), mask=c < classes)
    tl.store(here + 3 * classes, unit * tl.sum(entropy, axis=1), mask=c < classes)
    tl.store(here + 4 * classes, unit * tl.sum(every, axis=1), mask=c < classes)
    tl.store(here + 5 * classes, focal, mask=c < classes)


@triton.jit
def _gradient_kernel(
    slopes, logits, labels, gradient, batch, classes, voxels, zb, zc, zv, lb, lc, lv, gb, gc, gv, gamma, ignore,
    SIGMOID: tl.constexpr, SQUARED: tl.constexpr, FOCAL: tl.constexpr, IGNORE: tl.constexpr, EVERY: tl.constexpr,
    C: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    """What holds of a voxel's own class alone is looked up by its label: registers need not hold it for each class."""
    sample = tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    row = slopes + sample * classes
    step = batch * classes
    size = tl.load(row + step + c, mask=c < classes, other=0.0)[:, None]
    if SIGMOID:
        overlap = tl.load(row + c, mask=c < classes, other=0.0)[:, None]
        entropy = tl.load(row + 3 * step + c, mask=c < classes, other=0.0)[:, None]
    if EVERY:
        every = tl.load(row + 4 * step + c, mask=c < classes, other=0.0)[:, None]
    if FOCAL:
        focal = tl.load(row + 5 * step + c, mask=c < classes, other=0.0)[:, None]
    far = c.to(tl.int64)[:, None] * gc
    for start in tl.range(tl.program_id(0) * V, voxels, tl.num_programs(0) * V, num_stages=2):
        z, y, one, counts, inside, real = _load(
            logits, labels, sample, classes, voxels, start, zb, zc, zv, lb, lc, lv, ignore, SIGMOID, IGNORE, C, V
        )
        if SIGMOID:
            _, _, p = _log_sigmoids(z)
        else:
            p, _ = _softmax(z, real)
            known = (y >= 0) & (y < classes)
            overlap = tl.load(row + y, mask=known, other=0.0)
            entropy = tl.load(row + 3 * step + y, mask=known, other=0.0)
        q = tl.where(one, overlap, 0.0) + (2.0 * p * size if SQUARED else size)
        if SIGMOID:
            slope = p * (1.0 - p) * q + entropy * (p - tl.where(one, 1.0, 0.0))
        else:
            t = p * q - tl.where(one, entropy, 0.0)  # 0 where nothing is, as p and the slopes are
            if EVERY:
                t -= every
            slope = t - p * tl.sum(t, axis=0)[None, :]
        if FOCAL:
            sign = tl.where(one, 1.0, -1.0)
            right, wrong, chance = _log_sigmoids(tl.where(counts, z, 0.0) * sign)
            slope += focal * sign * tl.exp(gamma * wrong) * (gamma * chance * right - (1.0 - chance))
        if IGNORE:
            slope = tl.where(counts, slope, 0.0)
        here = gradient + sample * gb + far + (start + tl.arange(0, V).to(tl.int64))[None, :] * gv
        tl.store(here, slope.to(gradient.dtype.element_ty), mask=inside)


@on_its_device
def class_sums(
    logits: Tensor, labels: Tensor, sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None,
    smoothed: bool,
) -> Tensor:  # fmt: skip
    """As `plain.class_sums`; `logits` with any strides."""
    batch, classes, voxels = logits.shape
    labels = _readable(labels)
    programs, shape = _shape(classes, voxels)
    partial = torch.empty(batch, programs, 6, classes, dtype=torch.float32, device=logits.device)
    _sums_kernel[(programs, batch)](
        logits, labels, partial, classes, voxels, *logits.stride(), *_label_strides(labels), gamma or 0.0, ignore or 0,
        SIGMOID=sigmoid, SQUARED=squared, FOCAL=gamma is not None, IGNORE=ignore is not None, EVERY=smoothed, **shape,
    )  # fmt: skip
    return partial.sum(1, dtype=torch.float64).movedim(1, 0).float().contiguous()


@on_its_device
def class_sums_backward(
    slopes: Tensor, logits: Tensor, labels: Tensor,
    sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None, smoothed: bool,
) -> Tensor:  # fmt: skip
    """As `plain.class_sums_backward`."""
    batch, classes, voxels = logits.shape
    labels = _readable(labels)
    programs, shape = _shape(classes, voxels)
    gradient = torch.empty_like(logits)
    _gradient_kernel[(programs, batch)](
        slopes.float().contiguous(), logits, labels, gradient, batch, classes, voxels,
        *logits.stride(), *_label_strides(labels), *gradient.stride(), gamma or 0.0, ignore or 0,
        SIGMOID=sigmoid, SQUARED=squared, FOCAL=gamma is not None, IGNORE=ignore is not None, EVERY=smoothed, **shape,
    )  # fmt: skip
    return gradient


def _shape(classes: int, voxels: int) -> tuple[int, dict[str, Any]]:
    """Programs of a sample; classes and voxels of a tile, and its warps. The order of sums follows from them."""
    numbers, warps, programs = tiles.sweep("dice", classes=classes)
    c = triton.next_power_of_2(classes)
    v = max(4, numbers // c)
    return min(programs, triton.cdiv(voxels, v)), {"C": c, "V": v, "num_warps": warps}


def _readable(labels: Tensor) -> Tensor:
    return labels.view(torch.uint8) if labels.dtype == torch.bool else labels


def _label_strides(labels: Tensor) -> tuple[int, int, int]:
    if labels.ndim == 3:
        return labels.stride()  # type: ignore[return-value]
    return labels.stride(0), 0, labels.stride(1)
