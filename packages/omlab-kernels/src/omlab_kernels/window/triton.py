# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""The same in Triton, for any strides: a lane is a voxel and goes through the classes with its best score so far."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels import tiles
from omlab_kernels.dispatch import on_its_device

# Every cell of an image has another shape and place: specialised on them, the kernel would be compiled for each.
_OF_A_CELL = [
    "classes", "rows", "columns", "voxels", "gk", "gd", "gh", "gw",
    "score_at", "sk", "sd", "sh", "sw", "weight_at", "wd", "wh", "ww",
]  # fmt: skip


@triton.jit(do_not_specialize=_OF_A_CELL)
def _accumulate_kernel(
    sums, scores, importance, classes, rows, columns, voxels,
    gk, gd, gh, gw, score_at, sk, sd, sh, sw, weight_at, wd, wh, ww, SOFTMAX: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    voxel = tl.program_id(0).to(tl.int64) * V + tl.arange(0, V)
    inside = voxel < voxels
    d, h, w = voxel // columns // rows, voxel // columns % rows, voxel % columns
    goal = sums + d * gd + h * gh + w * gw
    share = tl.load(importance + weight_at + d * wd + h * wh + w * ww, mask=inside, other=0.0).to(tl.float32)
    first = scores + score_at + d * sd + h * sh + w * sw  # along a flipped axis the stride is negative
    most = tl.load(first, mask=inside, other=0.0).to(tl.float32)
    if SOFTMAX:
        total = tl.full([V], 1.0, tl.float32)
        here = first
        for _ in range(1, classes):
            here += sk
            score = tl.load(here, mask=inside, other=0.0).to(tl.float32)
            higher = tl.maximum(most, score)
            total = total * tl.exp(most - higher) + tl.exp(score - higher)
            most = higher
        share = share / total
    here = first
    for _ in range(classes):
        score = tl.load(here, mask=inside, other=0.0).to(tl.float32)
        if SOFTMAX:
            score = tl.exp(score - most)
        tl.store(goal, tl.load(goal, mask=inside, other=0.0) + share * score, mask=inside)
        here += sk
        goal += gk


@on_its_device
def window_accumulate(
    sums: Tensor, scores: Tensor, importance: Tensor, *, start: Sequence[int], flip: Sequence[int], softmax: bool
) -> None:
    """As `naive.window_accumulate`."""
    voxels = sums[0].numel()
    across, *along = scores.stride()
    begin = [
        size - 1 - at if axis in flip else at
        for axis, (at, size) in enumerate(zip(start, scores.shape[1:], strict=True))
    ]
    steps = [-step if axis in flip else step for axis, step in enumerate(along)]
    v, warps, _ = tiles.sweep("accumulate")
    _accumulate_kernel[(triton.cdiv(voxels, v),)](
        sums, scores, importance, len(sums), *sums.shape[2:], voxels, *sums.stride(),
        _offset(begin, along), across, *steps, _offset(start, importance.stride()), *importance.stride(),
        SOFTMAX=softmax, V=v, num_warps=warps,
    )  # fmt: skip


def _offset(place: Sequence[int], stride: Sequence[int]) -> int:
    return sum(at * step for at, step in zip(place, stride, strict=True))


@triton.jit
def _line(base, x0, x1, wx, inside, MIX_X: tl.constexpr):
    low = tl.load(base + x0, mask=inside, other=0.0).to(tl.float32)
    if MIX_X:
        low += wx * (tl.load(base + x1, mask=inside, other=0.0).to(tl.float32) - low)
    return low


@triton.jit
def _plane(base, y0, y1, wy, x0, x1, wx, inside, MIX_Y: tl.constexpr, MIX_X: tl.constexpr):
    low = _line(base + y0, x0, x1, wx, inside, MIX_X)
    if MIX_Y:
        low += wy * (_line(base + y1, x0, x1, wx, inside, MIX_X) - low)
    return low


@triton.jit
def _step(steps, first, size, place, stride, inside):
    """Where the lower and upper input of an axis lie, and the weight of the upper; see `_packed`."""
    here = steps + first + place
    lower = tl.load(here, mask=inside, other=0).to(tl.int64)
    upper = tl.load(here + size, mask=inside, other=0).to(tl.int64)
    weight = tl.load(here + 2 * size, mask=inside, other=0).to(tl.float32, bitcast=True)
    return lower * stride, upper * stride, weight


@triton.jit(do_not_specialize=["classes", "planes", "rows", "columns", "voxels", "sk", "sd", "sh", "sw"])
def _argmax_kernel(
    scores, labels, wrong, steps, classes, planes, rows, columns, voxels, sk, sd, sh, sw,
    MIX_D: tl.constexpr, MIX_H: tl.constexpr, MIX_W: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    voxel = tl.program_id(0).to(tl.int64) * V + tl.arange(0, V)
    inside = voxel < voxels
    d, h, w = voxel // columns // rows, voxel // columns % rows, voxel % columns
    d0, d1, wd = _step(steps, 0, planes, d, sd, inside)
    h0, h1, wh = _step(steps, 3 * planes, rows, h, sh, inside)
    w0, w1, ww = _step(steps, 3 * (planes + rows), columns, w, sw, inside)
    best = tl.full([V], float("-inf"), tl.float32)
    label = tl.zeros([V], tl.int32)
    nan = tl.zeros([V], tl.int32)
    base = scores
    for k in range(classes):
        score = _plane(base + d0, h0, h1, wh, w0, w1, ww, inside, MIX_H, MIX_W)
        if MIX_D:
            score += wd * (_plane(base + d1, h0, h1, wh, w0, w1, ww, inside, MIX_H, MIX_W) - score)
        nan = tl.where(score != score, 1, nan)  # a comparison with NaN is false, so it would go unseen
        higher = score > best
        best = tl.where(higher, score, best)
        label = tl.where(higher, k, label)
        base += sk
    tl.store(labels + voxel, label.to(labels.dtype.element_ty), mask=inside)
    infinite = tl.where(tl.abs(best) == float("inf"), 1, nan)
    tl.store(wrong + tl.program_id(0), tl.max(tl.where(inside, infinite, 0), axis=0))


@on_its_device
def window_argmax(scores: Tensor, steps: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """As `naive.window_argmax`."""
    shape = [len(weight) for _, _, weight in steps]
    labels = scores.new_empty(shape, dtype=torch.uint8 if len(scores) <= 256 else torch.int32)
    v, warps, _ = tiles.sweep("argmax")
    programs = triton.cdiv(labels.numel(), v)
    wrong = torch.empty(programs, dtype=torch.int32, device=scores.device)
    mixed = [not torch.equal(lower, upper) for lower, upper, _ in steps]
    _argmax_kernel[(programs,)](
        scores, labels, wrong, _packed(steps).to(scores.device), len(scores), *shape, labels.numel(), *scores.stride(),
        MIX_D=mixed[0], MIX_H=mixed[1], MIX_W=mixed[2], V=v, num_warps=warps,
    )  # fmt: skip
    return labels, ~wrong.any()


def _packed(steps: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """All steps in one tensor of int32, the weights by their bits: one copy to the GPU instead of nine."""
    return torch.cat(
        [part.to(torch.int32) for lower, upper, weight in steps for part in (lower, upper, weight.view(torch.int32))]
    )
