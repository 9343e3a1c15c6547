"""`attention_relpos`: attention whose bias is a sum of thin factors, with an optional sink key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from omlab_kernels import tiles
from omlab_kernels.dispatch import form_for
from omlab_kernels.operator import operator
from omlab_kernels.relpos import plain


def attention_relpos(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    factors: Sequence[tuple[Tensor, Tensor]] = (),
    *,
    scale: float | None = None,
    sink_logit: Tensor | None = None,
    sink_value: Tensor | None = None,
) -> Tensor:
    """Softmax of scale * q k' + bias over the keys and the sink, times the values; `naive` has the formulas.

    Neither the scores nor the bias are ever held whole. Deterministic; differentiable once in every floating-point
    argument. Computed in float32 (float64 for float64 inputs) whatever the precision of the inputs; Triton takes the
    factors in the type of q.

    Args:
        q: (B, heads, N, c).
        k: (B, heads, M, c).
        v: (B, heads, M, c).
        factors: Pairs (factor, key_index): (B, heads, N, n) numbers and (M,) int64 of 0..n-1. The bias of query i
            for key j is the sum over the pairs of factor[..., i, key_index[j]].
        scale: Left out: c ** -0.5.
        sink_logit: (B, heads, N), the score of one further key; -inf where a query has none.
        sink_value: (heads, c) or (B, heads, c), that key's value. Given together with `sink_logit`.

    Returns:
        (B, heads, N, c) in the type of q. Under autocast q, k and v take its type first.

    Raises:
        ValueError: Shapes or types do not fit, or (looked for on the CPU only) an index is not in 0..n-1.
    """
    _check(q, k, v, factors, sink_logit, sink_value)
    if torch.is_autocast_enabled(q.device.type) and q.dtype != torch.float64:
        q, k, v = (tensor.to(torch.get_autocast_dtype(q.device.type)) for tensor in (q, k, v))
    bias, table = _side_by_side(q, factors, keys=k.shape[2])
    if sink_value is not None:
        sink_value = sink_value.expand(*q.shape[:2], q.shape[3])
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    out: Tensor = _attention(q, k, v, bias, table, sink_logit, sink_value, scale)[0]
    return out


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    factors: Sequence[tuple[Tensor, Tensor]],
    logit: Tensor | None,
    value: Tensor | None,
) -> None:
    shape, keys = tuple(q.shape), tuple(k.shape)
    if q.ndim != 4 or k.ndim != 4 or v.shape != k.shape or keys[:2] != shape[:2] or keys[3] != shape[3]:
        raise ValueError(f"Queries {shape}, keys {keys} and values {tuple(v.shape)} are not (B, heads, N or M, c).")
    if not (q.is_floating_point() and q.dtype == k.dtype == v.dtype):
        raise ValueError(f"Queries, keys and values need one floating-point type, not {q.dtype}, {k.dtype}, {v.dtype}.")
    if not keys[2]:
        raise ValueError("Attention needs at least one key.")
    for factor, key_index in factors:
        if factor.ndim != 4 or tuple(factor.shape[:3]) != shape[:3]:
            raise ValueError(f"A factor for queries {shape} is (B, heads, N, n), not {tuple(factor.shape)}.")
        if tuple(key_index.shape) != keys[2:3] or key_index.dtype != torch.long:
            raise ValueError(
                f"{keys[2]} keys need ({keys[2]},) int64 indices, not {key_index.dtype} {tuple(key_index.shape)}."
            )
    if (logit is None) != (value is None):
        raise ValueError("A sink needs both its logit and its value.")
    if logit is not None and tuple(logit.shape) != shape[:3]:
        raise ValueError(f"The sink's logit for queries {shape} is {shape[:3]}, not {tuple(logit.shape)}.")
    if value is not None and tuple(value.shape) not in ((shape[1], shape[3]), (*shape[:2], shape[3])):
        raise ValueError(
            f"The sink's value for queries {shape} is (heads, c) or (B, heads, c), not {tuple(value.shape)}."
        )


def _side_by_side(q: Tensor, factors: Sequence[tuple[Tensor, Tensor]], *, keys: int) -> tuple[Tensor, Tensor]:
    """All factors (B, heads, N, A), and the table (M, A) that holds a 1 where a column of theirs concerns a key.

    On a GPU columns are filled up to what a kernel takes at a time, so that rows begin at aligned addresses.
    """
    if not factors:
        return q.new_empty((*q.shape[:3], 0)), q.new_empty((keys, 0))
    parts = [factor for factor, _ in factors]
    widths = [part.shape[-1] for part in parts]
    columns = sum(widths)
    kind: tiles.Kind = "single" if q.dtype == torch.float32 else "half"
    if q.is_cuda and (missing := tiles.whole_columns(columns, kind=kind) - columns):
        parts.append(parts[0].new_zeros((*q.shape[:3], missing)))
        columns += missing
    return torch.cat(parts, -1), _key_columns([index for _, index in factors], widths, columns, q.dtype)


@operator("key_columns")
def _key_columns(indices: Sequence[Tensor], widths: Sequence[int], columns: int, dtype: torch.dtype) -> Tensor:
    table = indices[0].new_zeros((indices[0].shape[0], columns), dtype=dtype)
    start = 0
    for index, width in zip(indices, widths, strict=True):
        if index.device.type == "cpu" and not 0 <= int(index.min()) <= int(index.max()) < width:
            raise ValueError(f"Key indices of a factor with {width} columns must lie in 0..{width - 1}.")
        table[:, start : start + width].scatter_(1, index[:, None], 1)
        start += width
    return table


@operator("attention_relpos")
def _attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, table: Tensor, sink_logit: Tensor | None, sink_value: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if _takes_triton(q):
        from omlab_kernels.relpos import triton

        return triton.forward(q, k, v, bias, table, sink_logit, sink_value, scale)
    return plain.forward(q, k, v, bias, table, sink_logit, sink_value, scale)


@operator("attention_relpos_backward")
def _attention_backward(
    slope: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    table: Tensor,
    out: Tensor,
    sums: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    if _takes_triton(q):
        from omlab_kernels.relpos import triton

        return triton.backward(slope, q, k, v, bias, table, out, sums, scale)
    return plain.backward(slope, q, k, v, bias, table, out, sums, scale)


def _takes_triton(q: Tensor) -> bool:
    widest = tiles.WIDEST_HEAD["single" if q.dtype == torch.float32 else "half"]
    return form_for(q) == "triton" and q.numel() > 0 and q.shape[3] <= widest


@torch.library.register_fake("omlab_kernels::key_columns")  # type: ignore[untyped-decorator]
def _(indices: Sequence[Tensor], widths: Sequence[int], columns: int, dtype: torch.dtype) -> Tensor:
    return indices[0].new_empty((indices[0].shape[0], columns), dtype=dtype)


@torch.library.register_fake("omlab_kernels::attention_relpos")  # type: ignore[untyped-decorator]
def _(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, table: Tensor, sink_logit: Tensor | None, sink_value: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    kind = torch.float64 if q.dtype == torch.float64 else torch.float32
    return torch.empty_like(q, memory_format=torch.contiguous_format), q.new_empty(q.shape[:3], dtype=kind)


@torch.library.register_fake("omlab_kernels::attention_relpos_backward")  # type: ignore[untyped-decorator]
def _(
    slope: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    table: Tensor,
    out: Tensor,
    sums: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    by_q, by_k, by_v, by_bias = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v, bias))
    return by_q, by_k, by_v, by_bias, torch.empty_like(sums)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, slope: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    q, k, v, bias, table, sink_logit, sink_value, out, sums = ctx.saved_tensors
    by_q, by_k, by_v, by_bias, delta = _attention_backward(slope, q, k, v, bias, table, out, sums, ctx.scale)
    by_logit = by_value = None
    if sink_logit is not None:
        slopes = slope.to(sums.dtype)
        weight = (sink_logit.to(sums.dtype) - sums).exp()
        by_logit = (weight * ((slopes * sink_value.to(sums.dtype).unsqueeze(2)).sum(-1) - delta)).to(sink_logit.dtype)
        by_value = (weight.unsqueeze(2) @ slopes).squeeze(2).to(sink_value.dtype)
    return by_q, by_k, by_v, by_bias, None, by_logit, by_value, None


torch.library.register_autograd("omlab_kernels::attention_relpos", _backward, setup_context=_setup)
