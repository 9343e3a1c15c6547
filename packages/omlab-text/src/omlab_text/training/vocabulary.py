"""Cross-entropy and log-probabilities over a large vocabulary, without a logit for every token and word at once.

T tokens over V words are T x V logits: 2 GiB in float32 for 2,048 tokens over 250,880 words, of which the plain form
holds three at once. Here words go in blocks: of each a block of logits is computed, and computed again for the gradient
(4 products of matrices instead of 3). What is kept is a number a token. The gradient of a block of the output matrix is
written once and whole, so that it has the precision of the plain form also in bfloat16.

Of a token with logits l over words v and target t, with p = softmax(l) and z = logsumexp(l):

    log p_t = l_t - z                  its gradient by l_v:  [v = t] - p_v
    H = -sum p log p = z - sum p l     its gradient by l_v:  -p_v (log p_v + H)

A temperature is applied to `hidden`, which it divides as it would the logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from omlab.errors import TrainingError

IGNORED = -100
"""The target of a token that does not count, as in torch; it costs nothing."""
_LOGITS = 1 << 22
"""Logits of a block: 16 MiB in float32."""
_WORDS = 2048
"""Words of a block at least: of fewer a product of matrices is slow, and hidden states are larger than logits."""


def log_probs(hidden: Tensor, output: Tensor, targets: Tensor, *, block: int | None = None) -> Tensor:
    """The log-probabilities (...) of the targets in float32 or better; 0 where the target is `IGNORED`.

    Logits are computed in the type of `hidden` (under autocast in its type) and widened, as a plain `lm_head(hidden)`
    with `log_softmax` has them. Where `output` is frozen no gradient of it is made.

    Args:
        hidden: (..., H), what goes into the output matrix.
        output: (V, H), the output matrix; where embeddings are tied, those.
        targets: (...), integers of 0..V-1, or `IGNORED`.
        block: Words of a block; None: as many as make 16 MiB of logits, at least 2,048.

    Raises:
        TrainingError: Shapes do not fit, or a target is no word.
    """
    return _computed(hidden, output, targets, block=block, has_entropy=False)[0]


def log_probs_and_entropy(
    hidden: Tensor, output: Tensor, targets: Tensor, *, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """`log_probs`, and the entropy (...) of the distribution over all words in nats; 0 where a target is `IGNORED`."""
    return _computed(hidden, output, targets, block=block, has_entropy=True)


def cross_entropy(hidden: Tensor, output: Tensor, targets: Tensor, *, block: int | None = None) -> Tensor:
    """Minus the mean of `log_probs` over the targets that count: a scalar, 0 where none does."""
    return -log_probs(hidden, output, targets, block=block).sum() / (targets != IGNORED).sum().clamp(min=1)


def _computed(
    hidden: Tensor, output: Tensor, targets: Tensor, *, block: int | None, has_entropy: bool
) -> tuple[Tensor, Tensor]:
    if hidden.shape[:-1] != targets.shape or output.ndim != 2 or hidden.shape[-1] != output.shape[1]:
        raise TrainingError(
            f"Hidden states {tuple(hidden.shape)}, output matrix {tuple(output.shape)} and targets "
            f"{tuple(targets.shape)} do not fit: (..., H), (V, H) and (...) are wanted."
        )
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        hidden = hidden.to(torch.get_autocast_dtype(device))
    counts = targets != IGNORED
    kept = targets[counts]
    if kept.numel() and not 0 <= int(kept.min()) <= int(kept.max()) < len(output):
        raise TrainingError(f"Targets from {int(kept.min())} to {int(kept.max())} are not all of {len(output)} words.")
    words = block or max(_LOGITS // max(len(kept), 1), _WORDS)
    found = _Blocks.apply(hidden[counts], output, kept, words, has_entropy)  # type: ignore[no-untyped-call]
    logp, entropy = (one.new_zeros(targets.shape).masked_scatter(counts, one) for one in found)
    return logp, entropy


class _Blocks(torch.autograd.Function):
    """(N, H), (V, H), (N,) -> log-probabilities (N,) and entropies (N,), which are 0 unless asked for."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, output: Tensor, targets: Tensor, words: int, has_entropy: bool
    ) -> tuple[Tensor, Tensor]:
        chosen = hidden.new_zeros(len(hidden), dtype=_wide(hidden))
        total = torch.full_like(chosen, -torch.inf)  # log of the sum of exp(logits) so far
        mean = torch.zeros_like(chosen)  # of the logits so far, by their softmax
        for begin, rows in _blocks(output, words):
            logits = _logits(hidden, rows)
            inside, word = _inside(targets, begin, len(rows))
            chosen[inside] = logits[inside, word]
            here = logits.logsumexp(dim=1)
            both = torch.logaddexp(total, here)
            if has_entropy:
                logits_mean = (logits.softmax(dim=1) * logits).sum(dim=1)
                mean = mean * (total - both).exp() + logits_mean * (here - both).exp()
            total = both
        entropy = total - mean if has_entropy else torch.zeros_like(total)
        ctx.words, ctx.has_entropy = words, has_entropy
        ctx.save_for_backward(hidden, output, targets, total, entropy)
        return chosen - total, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_logp: Tensor, of_entropy: Tensor) -> tuple[Tensor | None, ...]:
        hidden, output, targets, total, entropy = ctx.saved_tensors
        of_hidden = torch.zeros_like(hidden, dtype=total.dtype) if ctx.needs_input_grad[0] else None
        of_output = torch.empty_like(output) if ctx.needs_input_grad[1] else None
        for begin, rows in _blocks(output, ctx.words):
            logp = _logits(hidden, rows).sub_(total[:, None])
            factor = -of_logp[:, None]
            if ctx.has_entropy:
                factor = factor - of_entropy[:, None] * (logp + entropy[:, None])
            of_logits = logp.exp_().mul_(factor)
            inside, word = _inside(targets, begin, len(rows))
            of_logits[inside, word] += of_logp[inside]
            narrow = of_logits.to(hidden.dtype)
            if of_hidden is not None:
                of_hidden += narrow @ rows.to(hidden.dtype)
            if of_output is not None:
                of_output[begin : begin + len(rows)] = narrow.T @ hidden
        return None if of_hidden is None else of_hidden.to(hidden.dtype), of_output, None, None, None


def _blocks(output: Tensor, words: int) -> Iterator[tuple[int, Tensor]]:
    """The rows of the output matrix, so many at once, and where they begin."""
    for begin in range(0, len(output), words):
        yield begin, output[begin : begin + words]


def _logits(hidden: Tensor, rows: Tensor) -> Tensor:
    """(N, H), (W, H) -> (N, W), a tensor of its own that may be changed."""
    return (hidden @ rows.to(hidden.dtype).T).to(_wide(hidden))


def _inside(targets: Tensor, begin: int, words: int) -> tuple[Tensor, Tensor]:
    """Which tokens have their target among the words of a block, and at which place of it."""
    inside = ((targets >= begin) & (targets < begin + words)).nonzero()[:, 0]
    return inside, targets[inside] - begin


def _wide(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)
