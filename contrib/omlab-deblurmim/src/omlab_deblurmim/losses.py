"""What is minimised: the error of painted patches, and Dice of masks."""

from __future__ import annotations

import torch
from torch import Tensor

from omlab_deblurmim.masking import patches_of

_PIXEL_EPS = 1e-6


def deblurring_error(painted: Tensor, sharp: Tensor, *, patch: int, normalise: bool = False) -> Tensor:
    """The mean squared error over all patches and pixels: those that were seen must be deblurred too.

    Args:
        painted: (B, L, 3 patch^2), of the blurred image.
        sharp: (B, 3, S, S).
        patch: Pixels of a patch's side.
        normalise: Whether each patch of the target is normalised by its own mean and deviation.
    """
    return _patch_errors(painted, sharp, patch=patch, normalise=normalise).mean()


def masked_error(painted: Tensor, image: Tensor, mask: Tensor, *, patch: int, normalise: bool = False) -> Tensor:
    """The mean squared error over the patches that were removed (mask (B, L) is 1), as in MAE and ConvMAE."""
    errors = _patch_errors(painted, image, patch=patch, normalise=normalise)
    return (errors * mask).sum() / mask.sum()


def _patch_errors(painted: Tensor, image: Tensor, *, patch: int, normalise: bool) -> Tensor:
    """(B, L)."""
    target = patches_of(image, patch=patch)
    if normalise:
        variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
        target = (target - mean) / (variance + _PIXEL_EPS).sqrt()
    return (painted.float() - target).square().mean(dim=-1)


def dice_loss(share: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 TP + 1) / (2 TP + FN + FP + 1) of shares and masks of any one shape, the whole batch pooled."""
    both = (share * truth).sum()
    return 1 - (2 * both + 1) / (share.sum() + truth.sum() + 1)
