"""nnU-Net's loss for segmentation, alone and over the levels of deep supervision.

The arithmetic is `omlab_kernels.dice_cross_entropy`'s: one pass over the logits in each direction. Here are nnU-Net's
choices among its options, its weights of the levels and its shrinking of labels.

Source: Isensee et al., nnU-Net, Nature Methods 18 (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

import omlab_kernels
from omlab.errors import TrainingError

Form = Literal["nnunet-v1", "nnunet-v2"]
LabelLoss = Callable[[Tensor, Tensor], Tensor]


def dice_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    batch_dice: bool = False,
    form: Form = "nnunet-v1",
    ignore: int | None = None,
) -> Tensor:
    """Cross-entropy minus soft Dice of all classes but the background: one scalar, at best -1.

    In float32 (float64 for float64 logits), whatever the logits' precision. Only the logits and labels are kept for the
    backward pass.

    Args:
        logits: (B, K, ...), before the softmax.
        labels: (B, ...), integers of 0..K-1.
        batch_dice: Sum over the whole batch before the ratio, instead of the mean over samples.
        form: The denominator of nnU-Net's version 1 or 2.
        ignore: The label of voxels that do not count: they are not annotated.

    Raises:
        TrainingError: Shapes do not fit, there is no class to measure, or a label is not in 0..K-1
            (looked for on the CPU only: it would stall a GPU).
    """
    try:
        return omlab_kernels.dice_cross_entropy(
            logits, labels, form=form, batch_dice=batch_dice, background=False, ignore=ignore
        )
    except ValueError as error:
        raise TrainingError(f"The loss cannot be computed: {error}") from error


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
