"""The losses of MedFMC's heads."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def multi_label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy summed over classes and averaged over cases; a difficult label (-1) counts as 1.

    Args:
        logits: (B, K).
        labels: (B, K) of 1, 0 and -1.
    """
    wanted = (labels != 0).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(logits)


def single_label_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy, averaged over cases, of logits (B, K) and classes (B,) or their probabilities (B, K)."""
    return functional.cross_entropy(logits, classes)
