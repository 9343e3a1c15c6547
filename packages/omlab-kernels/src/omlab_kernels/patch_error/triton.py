# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""The error of patches in Triton: a program reads a patch of the image where it lies, once, and keeps it in registers.

Nothing but the sums of squares is written forwards, nothing but the gradient backwards: targets are never stored.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels import tiles
from omlab_kernels.dispatch import on_its_device


@triton.jit
def _difference(
    prediction, images, batch, place, numbers, channels, columns, patch, pb, pl, pk, ib, ic, ih, iw, eps,
    NORMALISE: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Prediction minus target of a patch, zero beyond its numbers, and which those are."""
    k = tl.arange(0, K)
    inside = k < numbers
    channel, pixel = k % channels, k // channels
    row = (place // columns) * patch + pixel // patch
    column = (place % columns) * patch + pixel % patch
    at = images + batch * ib + row.to(tl.int64) * ih + column * iw + channel * ic
    target = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    if NORMALISE:
        centred = tl.where(inside, target - tl.sum(target) / numbers, 0.0)
        # A patch of one number has no variance: NaN, as the formula gives.
        target = centred / tl.sqrt_rn(tl.sum(centred * centred) / (numbers - 1) + eps)
    said = tl.load(prediction + batch * pb + place * pl + k * pk, mask=inside, other=0.0).to(tl.float32)
    return tl.where(inside, said - target, 0.0), inside


@triton.jit
def _forward_kernel(
    prediction, images, mask, sums, patches, numbers, channels, columns, patch,
    pb, pl, pk, ib, ic, ih, iw, eps, NORMALISE: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    batch, place = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64)
    here = batch * patches + place
    if tl.load(mask + here) == 0:
        tl.store(sums + here, 0.0)
    else:
        error, _ = _difference(
            prediction, images, batch, place, numbers, channels, columns, patch,
            pb, pl, pk, ib, ic, ih, iw, eps, NORMALISE, K,
        )  # fmt: skip
        tl.store(sums + here, tl.sum(error * error))


@triton.jit
def _backward_kernel(
    gradient, prediction, images, mask, found, patches, numbers, channels, columns, patch,
    pb, pl, pk, ib, ic, ih, iw, eps, NORMALISE: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    batch, place = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64)
    here = batch * patches + place
    k = tl.arange(0, K)
    goal = found + here * numbers + k
    if tl.load(mask + here) == 0:
        tl.store(goal, tl.zeros((K,), found.dtype.element_ty), mask=k < numbers)
    else:
        error, inside = _difference(
            prediction, images, batch, place, numbers, channels, columns, patch,
            pb, pl, pk, ib, ic, ih, iw, eps, NORMALISE, K,
        )  # fmt: skip
        slope = 2 * tl.load(gradient + here)
        tl.store(goal, (slope * error).to(found.dtype.element_ty), mask=inside)


@on_its_device
def forward(prediction: Tensor, images: Tensor, mask: Tensor, *, patch: int, normalise: bool, eps: float) -> Tensor:
    """The sum of squares of each patch, (B, L) in float32; 0 where `mask` (uint8) is 0."""
    sums = torch.empty(mask.shape, dtype=torch.float32, device=prediction.device)
    _launch(_forward_kernel, [prediction, images, mask, sums], patch=patch, normalise=normalise, eps=eps)
    return sums


@on_its_device
def backward(
    prediction: Tensor, images: Tensor, mask: Tensor, gradient: Tensor, *, patch: int, normalise: bool, eps: float
) -> Tensor:
    """The gradient of `prediction`, in its type, for the gradient (B, L) of the sums."""
    found = torch.empty_like(prediction, memory_format=torch.contiguous_format)
    pointers = [gradient.contiguous(), prediction, images, mask, found]
    _launch(_backward_kernel, pointers, patch=patch, normalise=normalise, eps=eps)
    return found


def _launch(kernel, pointers: list[Tensor], *, patch: int, normalise: bool, eps: float) -> None:
    prediction, images = pointers[-4:-2]
    B, L, numbers = prediction.shape
    if not prediction.numel():
        return
    _, warps, _ = tiles.sweep("patch", classes=numbers)
    kernel[(L, B)](
        *pointers, L, numbers, images.shape[1], images.shape[3] // patch, patch,
        *prediction.stride(), *images.stride(), eps,
        NORMALISE=normalise, K=triton.next_power_of_2(numbers), num_warps=warps,
    )  # fmt: skip
