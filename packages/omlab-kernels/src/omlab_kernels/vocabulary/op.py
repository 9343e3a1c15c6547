"""`linear_log_probs`, with entropy or as cross-entropy: the last layer of a language model and what is made of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from omlab_kernels.operator import operator
from omlab_kernels.vocabulary import plain


def linear_log_probs(
    hidden: Tensor, output: Tensor, targets: Tensor, *, ignore: int = -100, block: int | None = None
) -> Tensor:
    """The log-probabilities (...) of the targets; 0 where these are ignored (`naive.py` has the formula).

    Logits are computed in the type of `hidden` (under autocast in its type) and widened, a block of words at a time,
    and only of tokens that count. Differentiable once in `hidden` and `output`; where `output` is frozen no gradient of
    it is made. A temperature is applied to `hidden`, which it divides as it would the logits.

    Args:
        hidden: (..., H), what goes into the output matrix.
        output: (V, H), the output matrix; where embeddings are tied, those.
        targets: (...) int64 of 0..V-1, or `ignore`.
        ignore: The target of a token that does not count; left out it is torch's.
        block: Words of a block; None: as many as make 16 MiB of logits in float32, at least 2,048.

    Returns:
        Float32 (float64 for float64 inputs).

    Raises:
        ValueError: Shapes or types do not fit, or (looked for on the CPU only) a target is no word.
    """
    return _computed(hidden, output, targets, ignore=ignore, block=block, has_entropy=False)[0]


def linear_log_probs_and_entropy(
    hidden: Tensor, output: Tensor, targets: Tensor, *, ignore: int = -100, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """`linear_log_probs`, and the entropy (...) of the distribution over all words in nats; 0 where ignored."""
    return _computed(hidden, output, targets, ignore=ignore, block=block, has_entropy=True)


def linear_cross_entropy(
    hidden: Tensor, output: Tensor, targets: Tensor, *, ignore: int = -100, block: int | None = None
) -> Tensor:
    """Minus the mean of `linear_log_probs` over the targets that count: a scalar, 0 where none does."""
    logp = linear_log_probs(hidden, output, targets, ignore=ignore, block=block)
    return -logp.sum() / (targets != ignore).sum().clamp(min=1)


def _computed(
    hidden: Tensor, output: Tensor, targets: Tensor, *, ignore: int, block: int | None, has_entropy: bool
) -> tuple[Tensor, Tensor]:
    _check(hidden, output, targets, ignore=ignore)
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        hidden = hidden.to(torch.get_autocast_dtype(device))
    given = hidden.flatten(0, -2), output, targets.flatten(), ignore, block or 0, has_entropy
    logp, entropy, _ = _log_probs(*given)
    return logp.view(targets.shape), entropy.view(targets.shape)


@operator("linear_log_probs")
def _log_probs(
    hidden: Tensor, output: Tensor, targets: Tensor, ignore: int, block: int, has_entropy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return plain.forward(hidden, output, targets, ignore, block, has_entropy)


@operator("linear_log_probs_backward")
def _log_probs_backward(
    of_logp: Tensor, of_entropy: Tensor, hidden: Tensor, output: Tensor, targets: Tensor, entropy: Tensor,
    total: Tensor, ignore: int, block: int, has_entropy: bool, wanted: list[bool],
) -> list[Tensor]:  # fmt: skip
    return plain.backward(
        of_logp, of_entropy, hidden, output, targets, entropy, total, ignore, block, has_entropy, wanted
    )


@torch.library.register_fake("omlab_kernels::linear_log_probs")  # type: ignore[untyped-decorator]
def _(
    hidden: Tensor, output: Tensor, targets: Tensor, ignore: int, block: int, has_entropy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    logp, entropy, total = (targets.new_empty(targets.shape, dtype=plain.wide(hidden)) for _ in range(3))
    return logp, entropy, total


@torch.library.register_fake("omlab_kernels::linear_log_probs_backward")  # type: ignore[untyped-decorator]
def _(
    of_logp: Tensor, of_entropy: Tensor, hidden: Tensor, output: Tensor, targets: Tensor, entropy: Tensor,
    total: Tensor, ignore: int, block: int, has_entropy: bool, wanted: list[bool],
) -> list[Tensor]:  # fmt: skip
    return [torch.empty_like(one) for one, is_wanted in zip((hidden, output), wanted, strict=True) if is_wanted]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.ignore, ctx.block, ctx.has_entropy = inputs
    ctx.save_for_backward(*tensors, *output[1:])
    ctx.mark_non_differentiable(output[2])


def _slope(ctx: Any, of_logp: Tensor, of_entropy: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    wanted = list(ctx.needs_input_grad[:2])
    options = ctx.ignore, ctx.block, ctx.has_entropy
    found = iter(_log_probs_backward(of_logp, of_entropy, *ctx.saved_tensors, *options, wanted))
    of_hidden, of_output = (next(found) if is_wanted else None for is_wanted in wanted)
    return of_hidden, of_output, None, None, None, None


torch.library.register_autograd("omlab_kernels::linear_log_probs", _slope, setup_context=_keep)


def _check(hidden: Tensor, output: Tensor, targets: Tensor, *, ignore: int) -> None:
    if hidden.ndim < 2 or hidden.shape[:-1] != targets.shape or output.ndim != 2 or hidden.shape[-1] != output.shape[1]:
        raise ValueError(
            f"Hidden states {tuple(hidden.shape)}, output matrix {tuple(output.shape)} and targets "
            f"{tuple(targets.shape)} do not fit: (..., H), (V, H) and (...) are wanted."
        )
    if targets.dtype != torch.int64:
        raise ValueError(f"Targets are int64, not {targets.dtype}.")
    if targets.device.type != "cpu" or torch.compiler.is_compiling():
        return
    kept = targets[targets != ignore]
    if kept.numel() and not 0 <= int(kept.min()) <= int(kept.max()) < len(output):
        raise ValueError(f"Targets from {int(kept.min())} to {int(kept.max())} are not all of {len(output)} words.")
