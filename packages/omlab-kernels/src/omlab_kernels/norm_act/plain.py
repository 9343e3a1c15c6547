"""The same in plain PyTorch, a sample at a time; mean and scale of each channel are kept for the gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omlab_kernels.norm_act.naive import activate


def forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    activation: str, slope: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Output as `x` (B, C, V), mean and 1 / sqrt(variance + eps), each (B, C) in float32 or float64."""
    out = torch.empty_like(x)
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    mean = torch.empty(x.shape[:2], dtype=kind, device=x.device)
    scale = torch.empty_like(mean)
    for b in range(x.shape[0]):
        variance, mean[b] = torch.var_mean(x[b].to(kind), 1, correction=0)
        scale[b] = (variance + eps).rsqrt()
        out[b] = activate(_before(x, weight, bias, residual, mean, scale, b)[0], activation, slope)
    return out, mean, scale


def backward(
    gradient: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    mean: Tensor, scale: Tensor, activation: str, slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients by x and by the sum before the activation (as `x`), and by weight and bias for each sample (B, C)."""
    by_x, by_z = torch.empty_like(x), torch.empty_like(x)
    by_weight, by_bias = torch.empty_like(mean), torch.empty_like(mean)
    for b in range(x.shape[0]):
        z, normed = _before(x, weight, bias, residual, mean, scale, b)
        step = gradient[b].to(z.dtype) * _slope(z, activation, slope)
        by_bias[b] = step.sum(1)
        by_weight[b] = (step * normed).sum(1)
        by_z[b] = step
        voxels = max(1, x.shape[2])
        rest = step - (by_bias[b] / voxels)[:, None] - normed * (by_weight[b] / voxels)[:, None]
        factor = scale[b] if weight is None else scale[b] * weight.to(z.dtype)
        by_x[b] = rest * factor[:, None]
    return by_x, by_z, by_weight, by_bias


def _before(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, mean: Tensor, scale: Tensor, b: int
) -> tuple[Tensor, Tensor]:
    """The sum before the activation, and the normalised x, of sample `b`."""
    normed = (x[b].to(mean.dtype) - mean[b][:, None]) * scale[b][:, None]
    z = normed
    if weight is not None:
        z = z * weight.to(z.dtype)[:, None]
    if bias is not None:
        z = z + bias.to(z.dtype)[:, None]
    if residual is not None:
        z = z + residual[b].to(z.dtype)
    return z, normed


def _slope(z: Tensor, activation: str, slope: float) -> Tensor:
    if activation == "gelu":
        return 0.5 * (1 + torch.erf(z * math.sqrt(0.5))) + z * (-0.5 * z * z).exp() / math.sqrt(2 * math.pi)
    if activation == "none":
        return torch.ones_like(z)
    return torch.where(z > 0, 1.0, 0.0 if activation == "relu" else slope).to(z.dtype)
