"""`dice_cross_entropy`: Dice, cross-entropy and focal loss with the options of MONAI and nnU-Net.

The operator `omlab_kernels::class_sums` reads the volume; what makes one loss differ from another is arithmetic on its
6 x B x C numbers, written below in plain PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from omlab_kernels.dice_ce import plain
from omlab_kernels.dispatch import form_for
from omlab_kernels.operator import operator

DiceForm = Literal["monai", "nnunet-v1", "nnunet-v2"]

_TINY = 1e-8


def dice_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    dice: float = 1.0,
    ce: float = 1.0,
    focal: float = 0.0,
    gamma: float = 2.0,
    sigmoid: bool = False,
    form: DiceForm = "monai",
    batch_dice: bool = False,
    background: bool = True,
    squared: bool = False,
    smooth: float = 1e-5,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore: int | None = None,
) -> Tensor:
    """The sum dice * Dice + ce * cross-entropy + focal * focal loss, one scalar.

    With I, P and G the sums of y p, p and y over the voxels of one sample (or of the batch):

        monai:      Dice = mean of 1 - (2 I + s) / (P + G + s)
        nnunet-v1:  Dice = - mean of (2 I + s) / (P + G + s + 1e-8)
        nnunet-v2:  Dice = - mean of (2 I + s) / max(P + G + s, 1e-8)

    The reading of the logits and labels is one pass in each direction; only they are kept for the backward pass, which
    is not differentiable again. `ce=0` is MONAI's DiceLoss, `dice=0` a cross-entropy, `ce=0, focal=1` its DiceFocalLoss
    (whose focal term looks at each class through the sigmoid, also beside a softmax). Regions have the binary
    cross-entropy of nnU-Net; MONAI's DiceCELoss agrees for one channel, and for more of them takes a softmax.

    Args:
        logits: (B, C, ...), contiguous or channels-last, before softmax or sigmoid.
        labels: (B, ...) integers of 0..C-1; with `sigmoid` (B, C, ...), 0 or 1 for each region.
        dice: Weight of the Dice.
        ce: Weight of the cross-entropy: mean over voxels; with `sigmoid` binary, mean over voxels and regions.
        focal: Weight of the focal loss, mean over voxels and classes.
        gamma: Exponent of the focal loss.
        sigmoid: Regions, which may overlap, instead of classes.
        form: Which Dice, see above.
        batch_dice: Sums over the whole batch before the ratio, instead of the mean over samples.
        background: Whether class 0 counts in the Dice and the focal loss (always in the cross-entropy).
        squared: P is the sum of p^2.
        smooth: The s above.
        class_weights: (C,). Weighs the classes of Dice, focal loss and binary cross-entropy without normalising, and
            the softmax cross-entropy as PyTorch does (divided by the sum of the voxels' weights).
        label_smoothing: Of the softmax cross-entropy, as PyTorch's.
        ignore: The label of voxels that do not count anywhere; with `sigmoid`, in the masks of the regions.

    Returns:
        The loss in float32 (float64 for float64 logits). An empty batch gives 0, as does the cross-entropy where all
        voxels are ignored.

    Raises:
        ValueError: Shapes do not fit, an option contradicts another, or a label is unknown (only the CPU looks).
    """
    _check(logits, labels, sigmoid=sigmoid, background=background, smoothing=label_smoothing, weights=class_weights)
    if not logits.numel():
        return logits.sum(dtype=_sum_type(logits)) * 0
    z = logits.flatten(2)
    y = labels.flatten(2 if sigmoid else 1)
    sums = _class_sums(z, y, sigmoid, squared, gamma if focal else None, ignore, label_smoothing != 0)
    overlap, size, count, entropy, every, focal_sums = sums
    weights = None if class_weights is None else class_weights.to(sums)
    voxels = z.shape[2]
    terms = []
    if dice:
        first = 0 if background else 1
        terms.append(dice * _dice(overlap, size, count, form, smooth, batch_dice, first, weights))
    if ce and sigmoid:
        terms.append(ce * _mean(_weighed(entropy, weights), _counted(y, ignore, voxels, entropy)))
    elif ce:
        terms.append(ce * _cross_entropy(entropy, every, count, weights, label_smoothing))
    if focal:
        first = 0 if background else 1
        counted = _counted(y, ignore, voxels, entropy)
        terms.append(focal * _mean(_weighed(focal_sums, weights)[:, first:], counted[:, first:]))
    return torch.stack(terms).sum() if terms else sums.sum() * 0


def deep_supervision_dice_cross_entropy(
    outputs: Sequence[Tensor], labels: Sequence[Tensor], *, weights: Sequence[float], **options: Any
) -> Tensor:
    """Weighted sum of `dice_cross_entropy` over the levels of deep supervision; a level of weight 0 is not read.

    Args:
        outputs: Logits of each level.
        labels: Labels of each level, on the grid of its logits.
        weights: One for each level.
        options: As for `dice_cross_entropy`.

    Raises:
        ValueError: The numbers of outputs, labels and weights differ, or all weights are 0.
    """
    if not len(outputs) == len(labels) == len(weights):
        counts = f"{len(outputs)} outputs, {len(labels)} label maps and {len(weights)} weights"
        raise ValueError(f"{counts} do not fit together.")
    terms = [
        weight * dice_cross_entropy(output, level, **options)
        for output, level, weight in zip(outputs, labels, weights, strict=True)
        if weight
    ]
    if not terms:
        raise ValueError(f"No level has a weight other than 0: {list(weights)}.")
    return torch.stack(terms).sum()


def _dice(
    overlap: Tensor, size: Tensor, count: Tensor, form: DiceForm, smooth: float, batch: bool, first: int,
    weights: Tensor | None,
) -> Tensor:  # fmt: skip
    if batch:
        overlap, size, count = (row.sum(0, keepdim=True) for row in (overlap, size, count))
    below = size + count + smooth
    if form == "nnunet-v1":
        below = below + _TINY
    elif form == "nnunet-v2":
        below = below.clamp_min(_TINY)
    ratio = (2 * overlap + smooth) / below
    return _weighed(1 - ratio if form == "monai" else -ratio, weights)[:, first:].mean()


def _cross_entropy(entropy: Tensor, every: Tensor, count: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    below = _weighed(count, weights).sum()
    below = torch.where(below == 0, torch.ones_like(below), below)
    value = _weighed(entropy, weights).sum() / below
    if smoothing:
        spread = _weighed(every, weights).sum() / below / entropy.shape[1]
        value = (1 - smoothing) * value + smoothing * spread
    return value


def _weighed(rows: Tensor, weights: Tensor | None) -> Tensor:
    return rows if weights is None else rows * weights


def _counted(labels: Tensor, ignore: int | None, voxels: int, like: Tensor) -> Tensor:
    """Voxels that count, for each sample and class, (B, C)."""
    if ignore is None:
        return torch.full_like(like, voxels)
    counted = torch.ne(labels, ignore).sum(-1).to(like)
    return counted if counted.ndim == 2 else counted.unsqueeze(1).expand_as(like)


def _mean(rows: Tensor, counted: Tensor) -> Tensor:
    return rows.sum() / counted.sum().clamp_min(1)


def _check(
    logits: Tensor, labels: Tensor, *, sigmoid: bool, background: bool, smoothing: float, weights: Tensor | None
) -> None:
    if logits.ndim < 3 or not logits.is_floating_point():
        raise ValueError(f"Logits are floating-point numbers (B, C, ...), not {logits.dtype} {tuple(logits.shape)}.")
    wanted = logits.shape if sigmoid else (logits.shape[0], *logits.shape[2:])
    if tuple(labels.shape) != tuple(wanted):
        raise ValueError(f"Logits {tuple(logits.shape)} need labels {tuple(wanted)}, not {tuple(labels.shape)}.")
    if labels.is_floating_point():
        raise ValueError(f"Labels are integers, not {labels.dtype}.")
    classes = logits.shape[1]
    if classes < (1 if background else 2):
        raise ValueError(f"{classes} classes leave none to measure; background is {background}.")
    if weights is not None and tuple(weights.shape) != (classes,):
        raise ValueError(f"{classes} classes need weights ({classes},), not {tuple(weights.shape)}.")
    if sigmoid and smoothing:
        raise ValueError("Label smoothing is of the softmax cross-entropy; regions have none.")


def _sum_type(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


@operator("class_sums")
def _class_sums(
    logits: Tensor, labels: Tensor, sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None,
    smoothed: bool,
) -> Tensor:  # fmt: skip
    plain.check_labels(labels, logits.shape[1], sigmoid=sigmoid, ignore=ignore)
    if form_for(logits) == "triton":
        from omlab_kernels.dice_ce import triton

        return triton.class_sums(logits, labels, sigmoid, squared, gamma, ignore, smoothed)
    return plain.class_sums(logits, labels, sigmoid, squared, gamma, ignore, smoothed)


@operator("class_sums_backward")
def _class_sums_backward(
    slopes: Tensor, logits: Tensor, labels: Tensor,
    sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None, smoothed: bool,
) -> Tensor:  # fmt: skip
    if form_for(logits) == "triton":
        from omlab_kernels.dice_ce import triton

        return triton.class_sums_backward(slopes, logits, labels, sigmoid, squared, gamma, ignore, smoothed)
    return plain.class_sums_backward(slopes, logits, labels, sigmoid, squared, gamma, ignore, smoothed)


@torch.library.register_fake("omlab_kernels::class_sums")  # type: ignore[untyped-decorator]
def _(
    logits: Tensor, labels: Tensor, sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None,
    smoothed: bool,
) -> Tensor:  # fmt: skip
    return logits.new_empty((6, logits.shape[0], logits.shape[1]), dtype=_sum_type(logits))


@torch.library.register_fake("omlab_kernels::class_sums_backward")  # type: ignore[untyped-decorator]
def _(
    slopes: Tensor, logits: Tensor, labels: Tensor,
    sigmoid: bool, squared: bool, gamma: float | None, ignore: int | None, smoothed: bool,
) -> Tensor:  # fmt: skip
    return torch.empty_like(logits)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, labels, *ctx.options = inputs
    ctx.save_for_backward(logits, labels)


def _backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
    logits, labels = ctx.saved_tensors
    gradient = _class_sums_backward(slopes, logits, labels, *ctx.options)
    return gradient, None, None, None, None, None, None


torch.library.register_autograd("omlab_kernels::class_sums", _backward, setup_context=_setup)
