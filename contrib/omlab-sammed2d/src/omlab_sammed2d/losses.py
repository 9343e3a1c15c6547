"""The losses of training and the scores of the authors' evaluation (Cheng et al. 2023, and their code).

Logits and masks are (B, 1, H, W). The losses' sums run over the whole batch, not mask by mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

FOCAL_WEIGHT = 20.0
_ALPHA = 0.25
_SMOOTH = 1.0
_EPS = 1e-7


def focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Focal loss with gamma 2 and alpha 0.25 (0.75 of the background), the mean over all pixels."""
    p = logits.sigmoid()
    inside = _ALPHA * (1 - p) ** 2 * torch.log(p + 1e-12) * truth
    outside = (1 - _ALPHA) * p**2 * torch.log(1 - p + 1e-12) * (1 - truth)
    return -(inside + outside).sum() / truth.numel()


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 sum p g + 1) / (sum p + sum g + 1)."""
    p = logits.sigmoid()
    return 1 - (2 * (p * truth).sum() + _SMOOTH) / (p.sum() + truth.sum() + _SMOOTH)


def iou_loss(logits: Tensor, truth: Tensor, predicted: Tensor) -> Tensor:
    """Mean squared distance of the predicted IoUs (B, 1) from the soft IoU of the batch."""
    p = logits.sigmoid()
    both = (p * truth).sum()
    iou = (both + _EPS) / (p.sum() + truth.sum() - both + _EPS)
    return ((iou - predicted) ** 2).mean()


def total_loss(logits: Tensor, truth: Tensor, predicted: Tensor) -> Tensor:
    """20 focal + Dice + IoU: what training minimises."""
    return FOCAL_WEIGHT * focal_loss(logits, truth) + dice_loss(logits, truth) + iou_loss(logits, truth, predicted)


def published_scores(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and Dice (B,) of each mask, as the authors' evaluation computes them.

    A map without a negative value in the whole batch is taken for probabilities as it stands, as there: an error of
    theirs that matters only where everything is foreground.
    """
    p = logits.sigmoid() if bool(logits.min() < 0) else logits
    mask = (p > 0.5).to(truth)
    both, sizes = (mask * truth).flatten(1).sum(1), mask.flatten(1).sum(1) + truth.flatten(1).sum(1)
    return (both + _EPS) / (sizes - both + _EPS), (2 * both + _EPS) / (sizes + _EPS)
