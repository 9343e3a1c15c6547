"""The specification: instance norm over the voxels of each sample and channel, plus a residual, then an activation.

    m, s^2 = mean and biased variance of x over the voxels       (B, C)
    y      = act(weight (x - m) / sqrt(s^2 + eps) + bias + residual)

Source: Ulyanov et al., Instance normalization, 2016; norm, add, activation as nnU-Net's residual blocks.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

ACTIVATIONS = ("none", "relu", "leaky_relu", "gelu")


def instance_norm_act(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    activation: str = "leaky_relu",
    slope: float = 0.01,
    eps: float = 1e-5,
) -> Tensor:
    """`x` (B, C, ...), `weight` and `bias` (C,), `residual` as `x`."""
    flat = x.flatten(2)
    centred = flat - flat.mean(2, keepdim=True)
    y = centred / (centred.square().mean(2, keepdim=True) + eps).sqrt()
    if weight is not None:
        y = y * weight[:, None]
    if bias is not None:
        y = y + bias[:, None]
    y = y.view_as(x)
    if residual is not None:
        y = y + residual
    return activate(y, activation, slope)


def activate(z: Tensor, activation: str, slope: float) -> Tensor:
    """The activation of `z`; GELU is the exact one."""
    if activation == "gelu":
        return functional.gelu(z)
    if activation == "none":
        return z
    return functional.leaky_relu(z, 0.0 if activation == "relu" else slope)
