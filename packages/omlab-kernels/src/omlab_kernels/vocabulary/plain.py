"""Log-probabilities over a vocabulary in blocks of words, without a logit for every token and word at once.

Of each block of words the logits are computed, and computed again for the gradient: 4 products of matrices instead of
3. What is kept is a number a token. With z = logsumexp(l) the gradients by a logit are

    of log p_t:  [v = t] - p_v
    of H:        -p_v (log p_v + H)

The gradient of a block of the output matrix is written once and whole, so that it has the precision of the naive form
also in bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_LOGITS = 1 << 22
"""Logits of a block: 16 MiB in float32."""
_WORDS = 2048
"""Words of a block at least: of fewer a product of matrices is slow, and hidden states are larger than logits."""


def forward(
    hidden: Tensor, output: Tensor, targets: Tensor, ignore: int, block: int, has_entropy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities, entropies (0 unless asked for) and logarithms of the sums of exponentials, each (N,).

    hidden (N, H), output (V, H), targets (N,); block 0: as many words as make 16 MiB of logits, at least 2,048.
    """
    counts = targets != ignore
    hidden, targets = hidden[counts], targets[counts]
    chosen = hidden.new_zeros(len(hidden), dtype=wide(hidden))
    total = torch.full_like(chosen, -torch.inf)  # log of the sum of exponentials so far
    mean = torch.zeros_like(chosen)  # of the logits so far, by their softmax
    for begin, rows in _blocks(output, tokens=len(hidden), block=block):
        logits = _logits(hidden, rows)
        word, inside = _places(targets, begin, len(rows))
        chosen += logits.gather(1, word)[:, 0] * inside
        here = logits.logsumexp(dim=1)
        both = torch.logaddexp(total, here)
        if has_entropy:
            logits_mean = (logits.softmax(dim=1) * logits).sum(dim=1)
            mean = mean * (total - both).exp() + logits_mean * (here - both).exp()
        total = both
    entropy = total - mean if has_entropy else mean
    logp, entropy, total = (
        one.new_zeros(len(counts)).masked_scatter(counts, one) for one in (chosen - total, entropy, total)
    )
    return logp, entropy, total


def backward(
    of_logp: Tensor, of_entropy: Tensor, hidden: Tensor, output: Tensor, targets: Tensor, entropy: Tensor,
    total: Tensor, ignore: int, block: int, has_entropy: bool, wanted: list[bool],
) -> list[Tensor]:  # fmt: skip
    """The gradients of `hidden` and of `output`, those of the two that are wanted."""
    counts = targets != ignore
    kept, words, logp_slope, entropy_slope, entropy, total = (
        one[counts] for one in (hidden, targets, of_logp, of_entropy, entropy, total)
    )
    of_hidden = torch.zeros_like(kept, dtype=total.dtype) if wanted[0] else None
    of_output = torch.empty_like(output) if wanted[1] else None
    for begin, rows in _blocks(output, tokens=len(kept), block=block):
        logp = _logits(kept, rows).sub_(total[:, None])
        factor = -logp_slope[:, None]
        if has_entropy:
            factor = factor - entropy_slope[:, None] * (logp + entropy[:, None])
        of_logits = logp.exp_().mul_(factor)
        word, inside = _places(words, begin, len(rows))
        of_logits.scatter_add_(1, word, (logp_slope * inside)[:, None])
        narrow = of_logits.to(hidden.dtype)
        if of_hidden is not None:
            of_hidden += narrow @ rows.to(hidden.dtype)
        if of_output is not None:
            of_output[begin : begin + len(rows)] = narrow.T @ kept
    found = []
    if of_hidden is not None:
        found.append(torch.zeros_like(hidden).masked_scatter(counts[:, None], of_hidden.to(hidden.dtype)))
    return found if of_output is None else [*found, of_output]


def wide(values: Tensor) -> torch.dtype:
    """What sums are made in: float32, or float64 for float64."""
    return torch.promote_types(values.dtype, torch.float32)


def _blocks(output: Tensor, *, tokens: int, block: int) -> Iterator[tuple[int, Tensor]]:
    """The rows of the output matrix, so many words at once, and where they begin."""
    words = block or max(_LOGITS // max(tokens, 1), _WORDS)
    for begin in range(0, len(output), words):
        yield begin, output[begin : begin + words]


def _logits(hidden: Tensor, rows: Tensor) -> Tensor:
    """(N, H), (W, H) -> (N, W), a tensor of its own that may be changed."""
    return (hidden @ rows.to(hidden.dtype).T).to(wide(hidden))


def _places(targets: Tensor, begin: int, words: int) -> tuple[Tensor, Tensor]:
    """The place (N, 1) of each target in a block of words, some place where it is not there; whether it is (N,)."""
    place = targets - begin
    return place.clamp(0, words - 1)[:, None], (place >= 0) & (place < words)
