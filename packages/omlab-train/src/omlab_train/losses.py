"""Dice + cross-entropy for segmentation, alone and over the levels of deep supervision, as in nnU-Net.

With the softmax probabilities p, the labels as one-hot g, and sums over the voxels of one sample (or of
the batch) for each class:

    cross-entropy = mean over voxels of -log p[label]
    dice          = -mean over classes of (2 sum(p g) + s) / (sum(p) + sum(g) + s + 1e-8)

Source: Isensee et al., nnU-Net, Nature Methods 18 (2021), with the details of its version 1 (`form="v1"`);
version 2 clips the denominator at 1e-8 instead of adding it (`form="v2"`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from omlab.errors import TrainingError

Form = Literal["v1", "v2"]
LabelLoss = Callable[[Tensor, Tensor], Tensor]

_TINY = 1e-8


def cross_entropy_and_dice(
    logits: Tensor,
    labels: Tensor,
    *,
    batch_dice: bool = False,
    background: bool = False,
    smooth: float = 1e-5,
    form: Form = "v1",
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and negative soft Dice of `logits` (B, K, ...) for integer `labels` (B, ...).

    Both are scalars in float32 (float64 for float64 logits), whatever the logits' precision. Only the
    logits are kept for the backward pass; the probabilities are computed anew there.

    Args:
        logits: (B, K, ...), before the softmax.
        labels: (B, ...), integers of 0..K-1.
        batch_dice: Sum over the whole batch before the ratio, instead of the mean over samples.
        background: Whether class 0 counts in the Dice (always in the cross-entropy).
        smooth: The s of the formula.
        form: The denominator of nnU-Net's version 1 or 2.

    Raises:
        TrainingError: Shapes do not fit, there is no class to measure, or a label is not in 0..K-1
            (looked for on the CPU only: it would stall a GPU).
    """
    _check(logits, labels, background=background)
    if logits.dtype != torch.float64:
        logits = logits.float()
    ce, dice = _CrossEntropyAndDice.apply(  # type: ignore[no-untyped-call]
        logits, labels.long(), batch_dice, background, smooth, form
    )
    return ce, dice


def dice_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    batch_dice: bool = False,
    background: bool = False,
    smooth: float = 1e-5,
    form: Form = "v1",
) -> Tensor:
    """The sum of both parts of `cross_entropy_and_dice`: 2-D or 3-D, same arguments, one scalar."""
    ce, dice = cross_entropy_and_dice(
        logits, labels, batch_dice=batch_dice, background=background, smooth=smooth, form=form
    )
    return ce + dice


def deep_supervision_weights(levels: int) -> list[float]:
    """Weights of `levels` outputs, full resolution first: 1, 1/2, 1/4, ..., the last 0, with sum 1."""
    if levels < 1:
        raise ValueError(f"deep supervision needs at least one level, not {levels}")
    if levels == 1:
        return [1.0]
    halves = [0.5**level for level in range(levels - 1)]
    return [half / sum(halves) for half in halves] + [0.0]


def shrink_labels(labels: Tensor, *, shape: Sequence[int]) -> Tensor:
    """`labels` (B, ...) on a coarser grid of the same extent, (B, *shape): the nearest voxel (order 0).

    Voxel m of M takes the one at floor((m + 1/2) N / M) of N; where two are equally near, the later.
    """
    if labels.ndim != len(shape) + 1:
        raise ValueError(f"labels of shape {tuple(labels.shape)} do not have the {len(shape)} axes of {tuple(shape)}")
    for axis, (new, old) in enumerate(zip(shape, labels.shape[1:], strict=True), start=1):
        if new != old:
            index = (2 * torch.arange(new, device=labels.device) + 1) * old // (2 * new)
            labels = labels.index_select(axis, index)
    return labels


def deep_supervision_loss(
    outputs: Sequence[Tensor],
    labels: Tensor,
    *,
    weights: Sequence[float] | None = None,
    level_loss: LabelLoss = dice_cross_entropy,
) -> Tensor:
    """Weighted sum of `level_loss` over `outputs`, full resolution first, with labels shrunk to each.

    Args:
        outputs: Logits (B, K, ...) of each level; the grids cover the same extent.
        labels: (B, ...) at full resolution.
        weights: One for each level; left out: `deep_supervision_weights`. A level of weight 0 costs nothing.
        level_loss: The loss of one level, of logits and labels.
    """
    used = deep_supervision_weights(len(outputs)) if weights is None else list(weights)
    if len(used) != len(outputs):
        raise ValueError(f"{len(used)} weights for {len(outputs)} levels")
    terms = [
        weight * level_loss(output, shrink_labels(labels, shape=output.shape[2:]))
        for weight, output in zip(used, outputs, strict=True)
        if weight != 0
    ]
    if not terms:
        raise ValueError(f"all levels have weight 0: {used}")
    return torch.stack(terms).sum()


def _check(logits: Tensor, labels: Tensor, *, background: bool) -> None:
    expected = (logits.shape[0], *logits.shape[2:])
    if logits.ndim < 3 or tuple(labels.shape) != expected:
        raise TrainingError(
            f"Outputs of shape {tuple(logits.shape)} need labels of shape {expected}, not {tuple(labels.shape)}."
        )
    classes = logits.shape[1]
    if classes < (1 if background else 2):
        raise TrainingError(
            f"A segmentation needs a background and at least one class, but there are {classes} outputs."
        )
    if labels.device.type == "cpu" and labels.numel():
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise TrainingError(f"Labels go from {low} to {high}, but the network has outputs for 0 to {classes - 1}.")


class _CrossEntropyAndDice(torch.autograd.Function):
    """Both parts, with the gradient written out: one buffer of the logits' size in each direction.

    Only elementwise operations and sums: autocast leaves them alone, and on a GPU they are deterministic.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, batch_dice: bool, background: bool, smooth: float, form: Form
    ) -> tuple[Tensor, Tensor]:
        target = labels.unsqueeze(1)
        ce = (logits.logsumexp(1) - logits.gather(1, target).squeeze(1)).mean()
        probabilities = logits.softmax(1)
        first = 0 if background else 1
        overlap, size = _class_sums(probabilities, labels, first=first)
        if batch_dice:
            overlap, size = overlap.sum(0, keepdim=True), size.sum(0, keepdim=True)
        top, bottom = 2 * overlap + smooth, size + smooth
        below = bottom + _TINY if form == "v1" else bottom.clamp_min(_TINY)
        # The slopes of the dice by the overlap and by the sum of probabilities, (B or 1, classes).
        by_overlap = -2 / below / top.numel()
        by_size = top / below.square() / top.numel()
        if form == "v2":
            by_size = by_size * (bottom >= _TINY)
        ctx.save_for_backward(logits, labels, by_overlap, by_size)
        ctx.first = first
        return ce, -(top / below).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, ce_slope: Tensor, dice_slope: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, by_overlap, by_size = ctx.saved_tensors
        batch, classes = logits.shape[:2]
        column = [batch] + [1] * (logits.ndim - 2)
        pad = (ctx.first, 0)
        by_overlap = torch.nn.functional.pad(by_overlap * dice_slope, pad).expand(batch, classes)
        by_size = torch.nn.functional.pad(by_size * dice_slope, pad).expand(batch, classes)
        per_voxel = ce_slope / labels.numel()

        # With q = dDice/dp = by_size + g by_overlap: dDice/dz = p (q - sum_k p_k q_k); dCE/dz = (p - g) / n.
        gradient = logits.softmax(1)
        target = labels.unsqueeze(1)
        p_label = gradient.gather(1, target).squeeze(1)
        q_label = by_overlap.gather(1, labels.flatten(1)).view_as(labels)
        mean_q = p_label * q_label
        for k in range(classes):
            mean_q.addcmul_(gradient[:, k], by_size[:, k].reshape(column))
        for k in range(classes):
            gradient[:, k].mul_(by_size[:, k].reshape(column) - mean_q + per_voxel)
        gradient.scatter_add_(1, target, (p_label * q_label - per_voxel).unsqueeze(1))
        return gradient, None, None, None, None, None


def _class_sums(probabilities: Tensor, labels: Tensor, *, first: int) -> tuple[Tensor, Tensor]:
    """Sums over voxels of p g and of p + g, each (B, K - first), class by class to spare a one-hot."""
    voxels = tuple(range(1, labels.ndim))
    overlap, size = [], []
    for k in range(first, probabilities.shape[1]):
        here = labels == k
        overlap.append((probabilities[:, k] * here).sum(voxels))
        size.append(probabilities[:, k].sum(voxels) + here.sum(voxels))
    return torch.stack(overlap, 1), torch.stack(size, 1)
