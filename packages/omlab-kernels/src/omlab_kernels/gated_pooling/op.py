"""`gated_pooling`: the attention-based pooling of slides, on bags of any sizes at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from omlab_kernels.dispatch import form_for
from omlab_kernels.gated_pooling import plain
from omlab_kernels.operator import operator
from omlab_kernels.tiles import MOST_BRANCHES

Layer = tuple[Tensor, Tensor]
"""Weight and bias, as `torch.nn.functional.linear` takes them."""


def gated_pooling(
    rows: Tensor, offsets: Tensor, *, value: Layer, gate: Layer | None, score: Layer
) -> tuple[Tensor, Tensor]:
    """Pool packed bags by (gated) attention (`naive.py` has the formula).

    Args:
        rows: (sum N, D), those of B bags one after another.
        offsets: (B + 1,) int64, where each begins; the last is sum N.
        value: V (H, D) and its bias (H,).
        gate: U (H, D) and its bias (H,); None: not gated.
        score: w (K, H) and its bias (K,).

    Returns:
        The means (B, K, D) of each bag, zeros for a bag without rows, in the type that autocast has for products, else
        in that of `rows`; and the scores (sum N, K), in float32 at least, through which no gradient goes.

    Raises:
        ValueError: Shapes do not fit.
    """
    _check(rows, offsets, value, gate, score)
    tensors = [rows, *value, *(gate or ()), *score]
    if torch.is_autocast_enabled(rows.device.type):
        dtype = torch.get_autocast_dtype(rows.device.type)
        tensors = [tensor.to(dtype) for tensor in tensors]
    rows, V, v, *rest = tensors
    U, u = (rest[0], rest[1]) if gate is not None else (None, None)
    means, scores, _ = _pool(rows, offsets, V, v, U, u, *rest[-2:])
    return means, scores.detach()


@operator("gated_pooling")
def _pool(
    rows: Tensor,
    offsets: Tensor,
    V: Tensor,
    v: Tensor,
    U: Tensor | None,
    u: Tensor | None,
    w: Tensor,
    c: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    if _is_in_triton(rows, w):
        from omlab_kernels.gated_pooling import triton

        return triton.forward(rows, offsets, V, v, U, u, w, c)
    return plain.forward(rows, offsets, V, v, U, u, w, c)


@operator("gated_pooling_backward")
def _pool_backward(
    slope: Tensor,
    means: Tensor,
    scores: Tensor,
    sums: Tensor,
    rows: Tensor,
    offsets: Tensor,
    V: Tensor,
    v: Tensor,
    U: Tensor | None,
    u: Tensor | None,
    w: Tensor,
    c: Tensor,
) -> list[Tensor]:
    if _is_in_triton(rows, w):
        from omlab_kernels.gated_pooling import triton

        return triton.backward(slope, means, scores, sums, rows, offsets, V, v, U, u, w, c)
    return plain.backward(slope, means, scores, sums, rows, offsets, V, v, U, u, w, c)


@torch.library.register_fake("omlab_kernels::gated_pooling")  # type: ignore[untyped-decorator]
def _(
    rows: Tensor,
    offsets: Tensor,
    V: Tensor,
    v: Tensor,
    U: Tensor | None,
    u: Tensor | None,
    w: Tensor,
    c: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    (N, D), K, B = rows.shape, w.shape[0], offsets.shape[0] - 1
    dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
    return rows.new_empty(B, K, D), rows.new_empty(N, K, dtype=dtype), rows.new_empty(B, K, dtype=dtype)


@torch.library.register_fake("omlab_kernels::gated_pooling_backward")  # type: ignore[untyped-decorator]
def _(
    slope: Tensor, means: Tensor, scores: Tensor, sums: Tensor, rows: Tensor, offsets: Tensor, *layers: Tensor | None
) -> list[Tensor]:
    given = [tensor for tensor in (rows, *layers) if tensor is not None]
    return [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in given]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output, *inputs)


def _slope(ctx: Any, slope: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
    means, scores, sums, rows, offsets, V, v, U, u, w, c = ctx.saved_tensors
    found = _pool_backward(slope, means, scores, sums, rows, offsets, V, v, U, u, w, c)
    drows, dV, dv, *rest = found
    dU, du = (rest[0], rest[1]) if U is not None else (None, None)
    return drows, None, dV, dv, dU, du, rest[-2], rest[-1]


torch.library.register_autograd("omlab_kernels::gated_pooling", _slope, setup_context=_keep)


def _is_in_triton(rows: Tensor, w: Tensor) -> bool:
    return form_for(rows) == "triton" and len(w) <= MOST_BRANCHES


def _check(rows: Tensor, offsets: Tensor, value: Layer, gate: Layer | None, score: Layer) -> None:
    if rows.ndim != 2 or offsets.ndim != 1 or len(offsets) < 2 or offsets.dtype != torch.int64:
        raise ValueError(
            f"Rows (sum N, D) and int64 offsets (B + 1,) are needed, not {tuple(rows.shape)} and "
            f"{tuple(offsets.shape)} of {offsets.dtype}."
        )
    H, D = len(value[0]), rows.shape[1]
    wanted = [("value", value, (H, D))]
    wanted += [("gate", gate, (H, D))] if gate is not None else []
    wanted += [("score", score, (len(score[0]), H))]
    for name, (weight, bias), shape in wanted:
        if tuple(weight.shape) != shape or tuple(bias.shape) != shape[:1]:
            raise ValueError(
                f"Rows {tuple(rows.shape)} need {name} {shape} with a bias {shape[:1]}, not {tuple(weight.shape)} with "
                f"{tuple(bias.shape)}."
            )
