"""The specification of the error of reconstructed patches.

The target of a patch are its pixels in the order row, column, channel; normalised, they are (t - mean) /
sqrt(var + eps) by the mean and the unbiased variance of the patch's own P^2 C numbers. The loss is the mean square over
the pixels of a patch, averaged over the patches that count.

Sources: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022 (the removed patches count);
Kang et al., Deblurring Masked Autoencoder, MICCAI 2023 (all patches count).
"""

from __future__ import annotations

from torch import Tensor


def patchify(images: Tensor, *, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, H W / patch^2, patch^2 C): patches row by row, each in the order row, column, channel."""
    B, C, H, W = images.shape
    h, w = H // patch, W // patch
    return images.reshape(B, C, h, patch, w, patch).permute(0, 2, 4, 3, 5, 1).reshape(B, h * w, patch * patch * C)


def masked_patch_error(
    prediction: Tensor, images: Tensor, mask: Tensor | None, *, patch: int, normalise: bool, eps: float
) -> Tensor:
    """The loss, a scalar.

    Args:
        prediction: (B, L, patch^2 C).
        images: (B, C, H, W).
        mask: (B, L), 1 for patches that count and 0 for others; None: all count.
        patch: Side of a patch.
        normalise: Whether targets are normalised.
        eps: Added to the variance.
    """
    target = patchify(images, patch=patch)
    if normalise:
        mean, variance = target.mean(dim=2, keepdim=True), target.var(dim=2, keepdim=True)
        target = (target - mean) / (variance + eps).sqrt()
    error = (prediction - target).square().mean(dim=2)
    return error.mean() if mask is None else (error * mask).sum() / mask.sum()
