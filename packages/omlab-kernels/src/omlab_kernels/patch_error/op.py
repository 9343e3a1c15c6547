"""`masked_patch_error`: what masked autoencoders minimise, computed on the patches that count and no others.

Plain PyTorch in every place: patches are a view of the images, of which only those that count are gathered, normalised
and compared. MAE removes 75 to 85 % of them; where all count and targets are raw, nothing is gathered at all.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_patch_error(
    prediction: Tensor,
    images: Tensor,
    mask: Tensor | None = None,
    *,
    patch: int,
    normalise: bool = True,
    eps: float = 1e-6,
) -> Tensor:
    """The mean squared error of predicted patches against those of the images (`naive.py` has the formula).

    Args:
        prediction: (B, L, patch^2 C), pixels of a patch in the order row, column, channel.
        images: (B, C, H, W) with L = H W / patch^2; no gradient goes to them.
        mask: (B, L), true (or 1) for the patches that count; None: all count.
        patch: Side of a patch.
        normalise: Whether the target is each patch normalised by its own mean and unbiased variance.
        eps: Added to the variance.

    Returns:
        The loss in float32 (float64 for float64 predictions); 0 where no patch counts.

    Raises:
        ValueError: Shapes do not fit.
    """
    _check(prediction, images, mask, patch=patch)
    B, C, H, W = images.shape
    h, w = H // patch, W // patch
    dtype = torch.float64 if prediction.dtype == torch.float64 else torch.float32
    target = images.detach().reshape(B, C, h, patch, w, patch).permute(0, 2, 4, 3, 5, 1)  # (B, h, w, P, P, C), a view
    if mask is None:
        prediction = prediction.reshape(target.shape)
    else:
        counts = mask != 0
        target, prediction = target[counts.reshape(B, h, w)], prediction[counts]  # (N, P, P, C), (N, P^2 C)
        prediction = prediction.reshape(target.shape)
    target, prediction = target.to(dtype), prediction.to(dtype)
    if not target.numel():
        return prediction.sum()
    if normalise:
        variance, mean = torch.var_mean(target, dim=(-3, -2, -1), keepdim=True)
        target = (target - mean) * (variance + eps).rsqrt()
    return (prediction - target).square().mean()


def _check(prediction: Tensor, images: Tensor, mask: Tensor | None, *, patch: int) -> None:
    if images.ndim != 4 or patch < 1 or images.shape[2] % patch or images.shape[3] % patch:
        raise ValueError(f"Images (B, C, H, W) of sides that {patch} divides are needed, not {tuple(images.shape)}.")
    B, C, H, W = images.shape
    wanted = (B, (H // patch) * (W // patch), patch * patch * C)
    if tuple(prediction.shape) != wanted:
        raise ValueError(f"Images {tuple(images.shape)} need predictions {wanted}, not {tuple(prediction.shape)}.")
    if mask is not None and tuple(mask.shape) != wanted[:2]:
        raise ValueError(f"Predictions {wanted} need a mask {wanted[:2]}, not {tuple(mask.shape)}.")
