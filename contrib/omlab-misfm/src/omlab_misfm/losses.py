"""PyMIC's loss: half Dice of all classes, half cross-entropy, at every level of deep supervision.

Dice pools the voxels of the batch and counts the background: the mean over classes of 1 - (2 I + s) / (P + Y + s) with
s = 1e-5. At full resolution labels are numbers, and `omlab_kernels.dice_cross_entropy` reads the logits once in each
direction. At a lower level a voxel covers several labels: its target is the share of each.

Source: PyMIC 0.5 (fact sheet of MIS-FM, 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

import omlab_kernels

SMOOTH = 1e-5

Match = Literal["pool", "interpolate", "enlarge"]
"""How targets and a lower level meet: targets averaged, targets interpolated, or predictions interpolated."""


def dice_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    dice: float = 0.5,
    ce: float = 0.5,
    class_weights: Tensor | None = None,
    ignore: int | None = None,
) -> Tensor:
    """`dice` x Dice + `ce` x cross-entropy, one scalar.

    Args:
        logits: (B, K, ...), before the softmax.
        labels: (B, ...), integers of 0..K-1.
        dice: Weight of the Dice.
        ce: Weight of the cross-entropy.
        class_weights: (K,). The Dice is their weighted mean; the cross-entropy of a voxel is multiplied by its
            class's, and nothing is divided by their sum.
        ignore: The label of voxels that do not count.
    """
    how = {"form": "monai", "batch_dice": True, "smooth": SMOOTH, "ignore": ignore}
    if class_weights is None:
        return omlab_kernels.dice_cross_entropy(logits, labels, dice=dice, ce=ce, **how)  # type: ignore[arg-type]
    shares = class_weights * len(class_weights) / class_weights.sum()
    overlap = omlab_kernels.dice_cross_entropy(logits, labels, dice=dice, ce=0, class_weights=shares, **how)  # type: ignore[arg-type]
    entropy = omlab_kernels.dice_cross_entropy(logits, labels, dice=0, ce=ce, class_weights=class_weights, **how)  # type: ignore[arg-type]
    counted = labels if ignore is None else labels[labels != ignore]
    return overlap + entropy * class_weights[counted.long()].mean()


def soft_dice_cross_entropy(logits: Tensor, target: Tensor, *, dice: float = 0.5, ce: float = 0.5) -> Tensor:
    """The same for targets (B, K, ...) that say which share of a voxel each class has.

    Shares that add up to less than 1 are of voxels that do not count.
    """
    log = logits.float().log_softmax(1).transpose(0, 1).flatten(1)  # (K, voxels of the batch)
    shares = target.float().transpose(0, 1).flatten(1)
    found = log.exp() * shares.sum(0)
    ratio = (2 * (found * shares).sum(1) + SMOOTH) / (found.sum(1) + shares.sum(1) + SMOOTH)
    entropy = -(shares * log).sum() / shares.sum().clamp(min=SMOOTH)
    return dice * (1 - ratio).mean() + ce * entropy


def deep_supervision_weights(levels: int) -> list[float]:
    """Weights of `levels` outputs, full resolution first: 1, 1/2, 1/4, ..., with sum 1."""
    halves = [0.5**level for level in range(levels)]
    return [half / sum(halves) for half in halves]


def deep_supervision_loss(
    outputs: Sequence[Tensor], labels: Tensor, *, match: Match = "pool", ignore: int | None = None
) -> Tensor:
    """The weighted sum of the loss over `outputs`, full resolution first.

    Args:
        outputs: Logits (B, K, ...) of each level; the grids cover the same extent.
        labels: (B, ...) at full resolution.
        match: How a lower level meets the labels.
        ignore: The label of voxels that do not count.
    """
    target: Tensor | None = None
    terms = []
    for weight, logits in zip(deep_supervision_weights(len(outputs)), outputs, strict=True):
        if logits.shape[2:] == labels.shape[1:]:
            terms.append(weight * dice_cross_entropy(logits, labels, ignore=ignore))
        elif match == "enlarge":
            enlarged = functional.interpolate(logits, size=labels.shape[1:], mode="trilinear")
            terms.append(weight * dice_cross_entropy(enlarged, labels, ignore=ignore))
        else:
            if target is None:
                target = _shares(labels, classes=logits.shape[1])
            terms.append(weight * soft_dice_cross_entropy(logits, _shrunk(target, logits, match)))
    return torch.stack(terms).sum()


def _shares(labels: Tensor, *, classes: int) -> Tensor:
    """(B, classes, ...): 1 for the class of a voxel; nothing for a label that is none of them."""
    places = torch.arange(classes, device=labels.device).view(-1, *[1] * (labels.ndim - 1))
    return (labels[:, None] == places).float()


def _shrunk(target: Tensor, logits: Tensor, match: Match) -> Tensor:
    size = list(logits.shape[2:])
    if match == "pool":
        return functional.adaptive_avg_pool3d(target, (size[0], size[1], size[2]))
    return functional.interpolate(target, size=size, mode="trilinear")
