"""The loss of segmentation: Dice of each class against all else."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from omlab_train.losses import shrink_labels


def dice_loss(share: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 TP + 1) / (2 TP + FN + FP + 1) of shares and masks of any one shape, the whole batch pooled."""
    both = (share * truth).sum()
    return 1 - (2 * both + 1) / (share.sum() + truth.sum() + 1)


def mask_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean `dice_loss` of the classes 1, 2, ..., each on its own; with one class that of the published nodules.

    Args:
        logits: (B, K, h, w), one for each class but the background.
        labels: (B, H, W) int64, taken to the logits' size from the nearest pixel.
    """
    small = shrink_labels(labels, shape=logits.shape[2:])
    truth = functional.one_hot(small, logits.shape[1] + 1).permute(0, 3, 1, 2)[:, 1:].to(logits)
    shares = logits.float().sigmoid()
    return torch.stack(
        [dice_loss(share, mask) for share, mask in zip(shares.unbind(1), truth.unbind(1), strict=True)]
    ).mean()


def with_background(logits: Tensor) -> Tensor:
    """Logits (B, 1 + K, h, w) whose largest is the class: that of the background is 0, as a share of a half."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)
