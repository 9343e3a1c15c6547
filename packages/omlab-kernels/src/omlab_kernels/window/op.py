"""`window_accumulate` and `window_argmax`: from windows of scores to labels on another grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omlab_kernels.dispatch import form_for
from omlab_kernels.operator import operator
from omlab_kernels.window import plain

Steps = tuple[Tensor, Tensor, Tensor]

_SUMS = {torch.float32: torch.float32, torch.float64: torch.float64, torch.float16: torch.float32}
"""Types of sums, and what is added to them is computed in."""


def window_accumulate(
    sums: Tensor,
    scores: Tensor,
    importance: Tensor,
    *,
    start: Sequence[int] = (0, 0, 0),
    flip: Sequence[int] = (),
    softmax: bool = False,
    fresh: bool = False,
) -> None:
    """Add a box of a window's weighed scores to `sums`, in place; `naive` has the formula.

    Not differentiable.

    Args:
        sums: (K, dz, dy, dx) in float32, float64 or float16, of any strides; may be on another device than the scores.
            What is added to float16 is computed in float32 and rounded once.
        scores: (K, d, h, w), what the network gave for the window.
        importance: (d, h, w), the weight of each voxel of the window, on the device and of the type of `sums` (float32
            for float16).
        start: Where the box of `sums` begins in the window.
        flip: The axes (0, 1, 2) along which the window was flipped for the network; the scores are flipped back.
        softmax: Whether the softmax of the scores over the classes is what is added.
        fresh: Whether `sums` holds nothing yet: it is set, whatever it was.

    Raises:
        ValueError: Shapes or types do not fit, or the box leaves the window.
    """
    found = f"{sums.dtype} {tuple(sums.shape)}, {scores.dtype} {tuple(scores.shape)}"
    if sums.ndim != 4 or scores.ndim != 4 or len(sums) != len(scores) or not len(scores):
        raise ValueError(f"Sums and scores are (K, ...) on three axes with one K of at least 1, not {found}.")
    if sums.dtype not in _SUMS or not scores.is_floating_point():
        raise ValueError(f"Sums are float32, float64 or float16 and scores floating-point numbers, not {found}.")
    kind = _SUMS[sums.dtype]
    if importance.shape != scores.shape[1:] or importance.dtype != kind or importance.device != sums.device:
        given = f"{importance.dtype} {tuple(importance.shape)} on {importance.device}"
        raise ValueError(f"Weights for {found} on {sums.device} have the window's shape in {kind}, not {given}.")
    if len(start) != 3 or any(
        at < 0 or at + n > size for at, n, size in zip(start, sums.shape[1:], scores.shape[1:], strict=True)
    ):
        raise ValueError(
            f"A box {tuple(sums.shape[1:])} at {tuple(start)} leaves the window {tuple(scores.shape[1:])}."
        )
    if not set(flip) <= {0, 1, 2}:
        raise ValueError(f"Axes to flip are 0, 1 and 2, not {tuple(flip)}.")
    _accumulate(sums.detach(), scores.detach(), importance.detach(), list(start), list(flip), softmax, fresh)


def window_argmax(scores: Tensor, steps: Sequence[Steps]) -> tuple[Tensor, Tensor]:
    """The class of the highest score on another grid, without the resampled scores; `naive` has the formula.

    Computed in float32 (float64 for float64 scores); the lowest class wins a tie. Not differentiable.

    Args:
        scores: (K, d, h, w), of any strides.
        steps: For each of the three axes (lower, upper, weight), on the CPU: int64 (n,) inputs, both the same for the
            nearest one, and float32 (n,) weights of the upper; n is the output's size.

    Returns:
        Labels in uint8 (int32 above 256 classes), and a boolean without axes: whether every voxel's best score is
        finite. Where it is not, the labels mean nothing.

    Raises:
        ValueError: Shapes or types do not fit, or an input is not there.
    """
    if scores.ndim != 4 or not len(scores) or not scores.is_floating_point():
        raise ValueError(
            f"Scores are floating-point numbers (K, d, h, w), K at least 1, not {scores.dtype} {tuple(scores.shape)}."
        )
    if len(steps) != 3:
        raise ValueError(f"Steps are needed for three axes, not {len(steps)}.")
    for lower, upper, weight in steps:
        kinds = [lower.dtype, upper.dtype, weight.dtype] == [torch.int64, torch.int64, torch.float32]
        if not (
            kinds and lower.ndim == 1 and lower.shape == upper.shape == weight.shape and lower.device.type == "cpu"
        ):
            found = ", ".join(f"{part.dtype} {tuple(part.shape)}" for part in (lower, upper, weight))
            raise ValueError(f"The steps of an axis are int64, int64 and float32 (n,) on the CPU, not {found}.")
    lower_upper_weight = [list(parts) for parts in zip(*steps, strict=True)]
    labels, finite = _argmax(scores.detach(), *lower_upper_weight)
    return labels, finite


@operator("window_accumulate", mutates=("sums",))
def _accumulate(
    sums: Tensor,
    scores: Tensor,
    importance: Tensor,
    start: Sequence[int],
    flip: Sequence[int],
    softmax: bool,
    fresh: bool,
) -> None:
    if not sums.numel():
        return
    alike = sums.device == scores.device and sums.dtype != torch.float64
    if alike and form_for(scores) == "triton":
        from omlab_kernels.window import triton

        if fresh:
            sums.zero_()
        triton.window_accumulate(sums, scores, importance, start=start, flip=flip, softmax=softmax)
    else:
        plain.window_accumulate(sums, scores, importance, start=start, flip=flip, softmax=softmax, fresh=fresh)


@operator("window_argmax")
def _argmax(
    scores: Tensor, lower: Sequence[Tensor], upper: Sequence[Tensor], weight: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    for low, high, size in zip(lower, upper, scores.shape[1:], strict=True):
        if len(low) and not (
            int(low.min()) >= 0 and int(low.max()) < size and int(high.min()) >= 0 and int(high.max()) < size
        ):
            raise ValueError(f"Steps of an axis of {size} lead to inputs that are not there.")
    steps = list(zip(lower, upper, weight, strict=True))
    if form_for(scores) == "triton" and all(len(one) for one in weight):
        from omlab_kernels.window import triton

        return triton.window_argmax(scores, steps)
    return plain.window_argmax(scores, steps)


@torch.library.register_fake("omlab_kernels::window_accumulate")  # type: ignore[untyped-decorator]
def _(
    sums: Tensor,
    scores: Tensor,
    importance: Tensor,
    start: Sequence[int],
    flip: Sequence[int],
    softmax: bool,
    fresh: bool,
) -> None:
    return None


@torch.library.register_fake("omlab_kernels::window_argmax")  # type: ignore[untyped-decorator]
def _(
    scores: Tensor, lower: Sequence[Tensor], upper: Sequence[Tensor], weight: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    shape = [one.shape[0] for one in weight]
    labels = scores.new_empty(shape, dtype=torch.uint8 if scores.shape[0] <= 256 else torch.int32)
    return labels, scores.new_empty((), dtype=torch.bool)
