"""The reward model's loss over answers that experts have ranked.

Source: Ouyang et al., Training language models to follow instructions with human feedback, 2022, equation 1 (all pairs
of a prompt together); Touvron et al., Llama 2, 2023, equation 2 (margins); Eisenstein et al., Helping or Herding?, 2023
(scores held around 0).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from omlab.errors import TrainingError

NO_ANSWER = 0
"""The rank of a place without an answer, in a batch of prompts with different numbers of them."""


def ranking_pairs(ranks: Tensor) -> Tensor:
    """The pairs (P, 2) of answers, the better one first, of ranks (K,); rank 1 is the best.

    Ties give no pair. Pairs are ordered by the better answer, then by the other.
    """
    return _is_better(ranks[None])[0].nonzero()


def ranking_losses(scores: Tensor, ranks: Tensor, *, margin: float | Tensor = 0.0, centring: float = 0.0) -> Tensor:
    """The loss of each prompt (B,): the mean over its pairs of -log sigmoid(better - worse - margin x rank gap).

    A prompt of twelve answers so weighs no more than one of four; one without a pair (all tied) has the loss 0.

    Args:
        scores: (B, K), what the reward model says of K answers.
        ranks: (B, K), integers, 1 the best, equal ones tied, `NO_ANSWER` where there is none.
        margin: By how much the scores of neighbours in rank are to differ at least; or (B,), of each prompt.
        centring: Weight of the squared sum of the two scores of a pair, which keeps scores around 0: differences alone
            leave their mean free.

    Raises:
        TrainingError: Shapes differ.
    """
    if scores.shape != ranks.shape or scores.ndim != 2:
        raise TrainingError(f"Scores {tuple(scores.shape)} and ranks {tuple(ranks.shape)} are not both (B, K).")
    is_pair = _is_better(ranks)
    scores = scores.masked_fill(ranks == NO_ANSWER, 0)  # whatever stood there
    better, worse = scores[:, :, None], scores[:, None, :]
    gap = (ranks[:, None, :] - ranks[:, :, None]).to(scores.dtype)
    each = margin[:, None, None] if isinstance(margin, Tensor) else margin
    losses = -logsigmoid(better - worse - each * gap)
    if centring:
        losses = losses + centring * (better + worse).square()
    return (losses * is_pair).sum(dim=(1, 2)) / is_pair.sum(dim=(1, 2)).clamp(min=1)


def ranking_loss(scores: Tensor, ranks: Tensor, *, margin: float | Tensor = 0.0, centring: float = 0.0) -> Tensor:
    """The mean of `ranking_losses` over the prompts that have a pair: a scalar, 0 where none has."""
    losses = ranking_losses(scores, ranks, margin=margin, centring=centring)
    return losses.sum() / _is_better(ranks).any(dim=(1, 2)).sum().clamp(min=1)


def _is_better(ranks: Tensor) -> Tensor:
    """Whether the first answer of a pair is the better one: (B, K) -> (B, K, K)."""
    has_answer = ranks != NO_ANSWER
    both = has_answer[:, :, None] & has_answer[:, None, :]
    return both & (ranks[:, :, None] < ranks[:, None, :])
