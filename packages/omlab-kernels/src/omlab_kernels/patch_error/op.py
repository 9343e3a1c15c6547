"""`masked_patch_error`: what masked autoencoders minimise, computed on the patches that count and no others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from omlab_kernels.dispatch import form_for
from omlab_kernels.operator import operator
from omlab_kernels.patch_error import plain

WIDEST = 8192
"""Numbers of a patch in Triton's form; wider ones take the plain one."""


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
    images = images.detach()
    if form_for(prediction) == "torch" or not 1 < prediction.shape[2] <= WIDEST:
        return plain.masked_patch_error(prediction, images, mask, patch=patch, normalise=normalise, eps=eps)
    if mask is None:
        mask = torch.ones(prediction.shape[:2], dtype=torch.uint8, device=prediction.device)
    counts = (mask != 0).to(torch.uint8).contiguous()
    sums: Tensor = _sums(prediction, images, counts, patch, normalise, eps)
    return sums.sum() / (counts.sum() * prediction.shape[2]).clamp_min(1)


@operator("patch_error_sums")
def _sums(prediction: Tensor, images: Tensor, mask: Tensor, patch: int, normalise: bool, eps: float) -> Tensor:
    from omlab_kernels.patch_error import triton

    return triton.forward(prediction, images, mask, patch=patch, normalise=normalise, eps=eps)


@operator("patch_error_sums_backward")
def _sums_backward(
    prediction: Tensor, images: Tensor, mask: Tensor, gradient: Tensor, patch: int, normalise: bool, eps: float
) -> Tensor:
    from omlab_kernels.patch_error import triton

    return triton.backward(prediction, images, mask, gradient, patch=patch, normalise=normalise, eps=eps)


@torch.library.register_fake("omlab_kernels::patch_error_sums")  # type: ignore[untyped-decorator]
def _(prediction: Tensor, images: Tensor, mask: Tensor, patch: int, normalise: bool, eps: float) -> Tensor:
    return prediction.new_empty(mask.shape, dtype=torch.float32)


@torch.library.register_fake("omlab_kernels::patch_error_sums_backward")  # type: ignore[untyped-decorator]
def _(
    prediction: Tensor, images: Tensor, mask: Tensor, gradient: Tensor, patch: int, normalise: bool, eps: float
) -> Tensor:
    return torch.empty_like(prediction, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    prediction, images, mask, *ctx.options = inputs
    ctx.save_for_backward(prediction, images, mask)


def _slope(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return _sums_backward(*ctx.saved_tensors, gradient, *ctx.options), None, None, None, None, None


torch.library.register_autograd("omlab_kernels::patch_error_sums", _slope, setup_context=_keep)


def _check(prediction: Tensor, images: Tensor, mask: Tensor | None, *, patch: int) -> None:
    if images.ndim != 4 or patch < 1 or images.shape[2] % patch or images.shape[3] % patch:
        raise ValueError(f"Images (B, C, H, W) of sides that {patch} divides are needed, not {tuple(images.shape)}.")
    B, C, H, W = images.shape
    wanted = (B, (H // patch) * (W // patch), patch * patch * C)
    if tuple(prediction.shape) != wanted:
        raise ValueError(f"Images {tuple(images.shape)} need predictions {wanted}, not {tuple(prediction.shape)}.")
    if mask is not None and tuple(mask.shape) != wanted[:2]:
        raise ValueError(f"Predictions {wanted} need a mask {wanted[:2]}, not {tuple(mask.shape)}.")
