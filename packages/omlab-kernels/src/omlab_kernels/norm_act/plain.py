"""The same with PyTorch's batch norm, a sample at a time; mean and scale of each channel are kept for the gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    activation: str, slope: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Output as `x` (B, C, V), mean and 1 / sqrt(variance + eps), each (B, C) in float32 or float64."""
    out = torch.empty_like(x)
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    mean = torch.empty(x.shape[:2], dtype=kind, device=x.device)
    scale = torch.empty_like(mean)
    if not x.numel():
        return out, mean.zero_(), scale.fill_(eps).rsqrt_()
    weight, bias = (None if one is None else one.to(kind) for one in (weight, bias))
    for b in range(x.shape[0]):
        given = _image(x[b]).to(kind)
        mean[b], variance = torch.batch_norm_update_stats(given, None, None, 0.0)
        scale[b] = (variance + eps).rsqrt()
        # The output's own memory where nothing is converted, so that it is written once.
        z = _before(
            given, weight, bias, residual, mean[b], scale[b], b, out=_image(out[b]) if x.dtype == kind else None
        )
        _activate(z, activation, slope)
        if x.dtype != kind:
            out[b] = z[0, :, :, 0]
    return out, mean, scale


def backward(
    gradient: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    mean: Tensor, scale: Tensor, activation: str, slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients by x and by the sum before the activation (as `x`), and by weight and bias for each sample (B, C).

    That by the sum is empty, (0,), where there is no residual.
    """
    by_x = torch.empty_like(x)
    by_z = x.new_empty(0) if residual is None else torch.empty_like(x)
    by_weight, by_bias = torch.zeros_like(mean), torch.zeros_like(mean)
    if not x.numel():
        return by_x, by_z, by_weight, by_bias
    weight, bias = (None if one is None else one.to(mean.dtype) for one in (weight, bias))
    for b in range(x.shape[0]):
        given = _image(x[b]).to(mean.dtype)
        step = _image(gradient[b]).to(mean.dtype)
        if activation != "none":
            step = _by_sum(step, _before(given, weight, bias, residual, mean[b], scale[b], b), activation, slope)
        if residual is not None:
            by_z[b] = step[0, :, :, 0]
        rest, by_weight[b], by_bias[b] = torch.ops.aten.native_batch_norm_backward(
            step, given, weight, None, None, mean[b], scale[b], True, 0.0, [True, True, True]
        )
        by_x[b] = rest[0, :, :, 0]
    return by_x, by_z, by_weight, by_bias


def _image(sample: Tensor) -> Tensor:
    """A sample (C, V) as (1, C, V, 1), the shape whose two layouts the batch norm knows."""
    return sample[None, :, :, None]


def _before(
    given: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None,
    mean: Tensor, scale: Tensor, b: int, *, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The sum before the activation, (1, C, V, 1); the mean is taken off first, so that little is lost to rounding."""
    z = torch.sub(given, mean[:, None, None], out=out)
    factor = (scale if weight is None else scale * weight)[:, None, None]
    z = z.mul_(factor) if bias is None else torch.addcmul(bias[:, None, None], z, factor, out=z)
    return z if residual is None else z.add_(_image(residual[b]))


def _activate(z: Tensor, activation: str, slope: float) -> None:
    """The activation, in place."""
    if activation == "gelu":
        torch.ops.aten.gelu_(z)
    elif activation != "none":
        functional.leaky_relu_(z, 0.0 if activation == "relu" else slope)


def _by_sum(step: Tensor, z: Tensor, activation: str, slope: float) -> Tensor:
    """The gradient `step` through the activation of `z`."""
    found: Tensor = (
        torch.ops.aten.gelu_backward(step, z)
        if activation == "gelu"
        else torch.ops.aten.leaky_relu_backward(step, z, 0.0 if activation == "relu" else slope, False)
    )
    return found
