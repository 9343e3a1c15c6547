"""The losses of segmentation: SegViT's as USFM takes it, and UPerNet's.

Of SegViT each class present in an image is matched to the query of its number. For each stage: cross-entropy of the
queries' classes, where all that match nothing are "no object" with weight 0.1; and for the masks of matched queries the
focal loss (alpha 0.25, gamma 2; Lin et al., RetinaNet, 2017) with weight 20 and the Dice loss with weight 1. Pixels
that are ignored are not left out: they count as negatives of every mask, as published.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from omlab_usfm.atm import NO_OBJECT_WEIGHT, AtmOutput, resized
from omlab_usfm.upernet import AUXILIARY_WEIGHT

IGNORED = 255
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
MASK_WEIGHT, DICE_WEIGHT = 20.0, 1.0


def atm_loss(output: AtmOutput, labels: Tensor, *, ignored: int = IGNORED) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and its terms: of the last stage `loss_ce`, `loss_mask`, `loss_dice`, of stage n `loss_ce_<n>` etc.

    Args:
        output: Of the head.
        labels: (B, H, W) int64; masks are brought to their size.
        ignored: A label that is no class.
    """
    last = len(output.scores) - 1
    terms: dict[str, Tensor] = {}
    for stage in (last, *range(last)):
        found = _stage_loss(output.scores[stage], resized(output.masks[stage], labels.shape[1:]), labels, ignored)
        suffix = "" if stage == last else f"_{stage}"
        terms |= {f"{name}{suffix}": value for name, value in found.items()}
    return torch.stack(list(terms.values())).sum(), terms


def segvit_loss(output: AtmOutput, labels: Tensor) -> Tensor:
    """`atm_loss` as a recipe minimises it."""
    return atm_loss(output, labels)[0]


def upernet_loss(logits: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy of the head's (B, C, H, W), and 0.4 of that of the auxiliary head's, with labels (B, H, W)."""
    main, auxiliary = (functional.cross_entropy(one.float(), labels) for one in logits)
    return main + AUXILIARY_WEIGHT * auxiliary


def _stage_loss(scores: Tensor, masks: Tensor, labels: Tensor, ignored: int) -> dict[str, Tensor]:
    """Scores (B, C, C + 1), masks (B, C, H, W)."""
    scores, masks = scores.float(), masks.float()  # of a forward pass in bfloat16
    classes = scores.shape[1]
    queries = torch.arange(classes, device=labels.device)
    targets = (labels[:, None] == queries[:, None, None]) & (labels != ignored)[:, None]  # (B, C, H, W)
    present = targets.flatten(2).any(dim=2)
    weights = torch.ones(classes + 1, device=scores.device, dtype=scores.dtype)
    weights[-1] = NO_OBJECT_WEIGHT
    wanted = torch.where(present, queries, classes)
    found, truth = masks[present].flatten(1), targets[present].flatten(1).to(masks)
    count = max(len(found), 1)
    return {
        "loss_ce": functional.cross_entropy(scores.transpose(1, 2), wanted, weight=weights),
        "loss_mask": MASK_WEIGHT * _focal(found, truth).sum() / count,
        "loss_dice": DICE_WEIGHT * _dice(found.sigmoid(), truth).sum() / count,
    }


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    """(M,) of (M, pixels)."""
    share = logits.sigmoid()
    right = share * truth + (1 - share) * (1 - truth)
    alpha = FOCAL_ALPHA * truth + (1 - FOCAL_ALPHA) * (1 - truth)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (alpha * (1 - right) ** FOCAL_GAMMA * entropy).mean(dim=1)


def _dice(share: Tensor, truth: Tensor) -> Tensor:
    """(M,) of (M, pixels), smoothed by 1."""
    return 1 - (2 * (share * truth).sum(dim=1) + 1) / (share.sum(dim=1) + truth.sum(dim=1) + 1)
