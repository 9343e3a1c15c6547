"""`instance_norm_act`: instance norm, residual addition and activation as one operator."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from omlab_kernels.dispatch import form_for
from omlab_kernels.norm_act import plain
from omlab_kernels.norm_act.naive import ACTIVATIONS
from omlab_kernels.operator import operator

Activation = Literal["none", "relu", "leaky_relu", "gelu"]


def instance_norm_act(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    activation: Activation = "leaky_relu",
    slope: float = 0.01,
    eps: float = 1e-5,
) -> Tensor:
    """act(weight (x - mean) / sqrt(variance + eps) + bias + residual), with the moments of each sample and channel.

    The output has the memory layout of `x`, contiguous or channels-last. Moments are in float32 (float64 for
    float64). The inputs are kept for the backward pass, the sum before the activation is not. Differentiable once;
    deterministic.

    Args:
        x: (B, C, ...).
        weight: (C,); left out: 1.
        bias: (C,); left out: 0.
        residual: As `x`, in any layout.
        activation: The GELU is the exact one.
        slope: Of the leaky ReLU.
        eps: Added to the variance.

    Raises:
        ValueError: Shapes do not fit, or the activation is unknown.
    """
    if x.ndim < 3 or not x.is_floating_point():
        raise ValueError(f"Instance norm takes floating-point numbers (B, C, ...), not {x.dtype} {tuple(x.shape)}.")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tuple(tensor.shape) != (x.shape[1],):
            raise ValueError(f"{x.shape[1]} channels need a {name} ({x.shape[1]},), not {tuple(tensor.shape)}.")
    if residual is not None and residual.shape != x.shape:
        raise ValueError(f"A residual for {tuple(x.shape)} has that shape, not {tuple(residual.shape)}.")
    if activation not in ACTIVATIONS:
        raise ValueError(f"The activation {activation!r} is none of {', '.join(ACTIVATIONS)}.")
    other = None if residual is None else residual.flatten(2)
    out: Tensor = _norm_act(x.flatten(2), weight, bias, other, activation, slope, eps)[0]
    return out.view(x.shape)


@operator("instance_norm_act")
def _norm_act(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    activation: str, slope: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    if form_for(x) == "triton" and x.numel():
        from omlab_kernels.norm_act import triton

        return triton.forward(x, weight, bias, residual, activation, slope, eps)
    return plain.forward(x, weight, bias, residual, activation, slope, eps)


@operator("instance_norm_act_backward")
def _norm_act_backward(
    gradient: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    mean: Tensor, scale: Tensor, activation: str, slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    if form_for(x) == "triton" and x.numel():
        from omlab_kernels.norm_act import triton

        return triton.backward(gradient, x, weight, bias, residual, mean, scale, activation, slope)
    return plain.backward(gradient, x, weight, bias, residual, mean, scale, activation, slope)


@torch.library.register_fake("omlab_kernels::instance_norm_act")  # type: ignore[untyped-decorator]
def _(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    activation: str, slope: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    return torch.empty_like(x), x.new_empty(x.shape[:2], dtype=kind), x.new_empty(x.shape[:2], dtype=kind)


@torch.library.register_fake("omlab_kernels::instance_norm_act_backward")  # type: ignore[untyped-decorator]
def _(
    gradient: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    mean: Tensor, scale: Tensor, activation: str, slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    by_z = x.new_empty(0) if residual is None else torch.empty_like(x)
    return torch.empty_like(x), by_z, torch.empty_like(mean), torch.empty_like(mean)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.activation, ctx.slope, _ = inputs
    ctx.save_for_backward(*tensors, *output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx: Any, gradient: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, bias, residual, mean, scale = ctx.saved_tensors
    by_x, by_z, by_weight, by_bias = _norm_act_backward(
        gradient, x, weight, bias, residual, mean, scale, ctx.activation, ctx.slope
    )
    return (
        by_x,
        None if weight is None else by_weight.sum(0).to(weight.dtype),
        None if bias is None else by_bias.sum(0).to(bias.dtype),
        None if residual is None else by_z.to(residual.dtype),
        None, None, None,
    )  # fmt: skip


torch.library.register_autograd("omlab_kernels::instance_norm_act", _backward, setup_context=_setup)
