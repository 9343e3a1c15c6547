"""How much better an answer, or a token of it, was than expected.

Source: Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage Estimation, 2016; Shao et al.,
DeepSeekMath, 2024 (GRPO); Ahmadian et al., Back to Basics, 2024 (RLOO).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from omlab.errors import TrainingError
from omlab_text.training.means import masked_mean


def token_rewards(penalty: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Rewards (B, T): minus the penalty of each token, and at the last one of an answer also its score.

    Args:
        penalty: (B, T), such as KL times its weight.
        scores: (B,), what the reward model says of each answer.
        mask: (B, T), the tokens that the policy wrote, at least one in each row.

    Raises:
        TrainingError: An answer has no token.
    """
    if not mask.any(dim=1).all():
        raise TrainingError("An answer without a token has no reward: leave it out of the batch.")
    place = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, place, -1).amax(dim=1, keepdim=True)
    return (-penalty).masked_fill(~mask, 0).scatter_add(1, last, scores[:, None].to(penalty.dtype))


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Advantages and returns, each (B, T); 0 where the mask is false.

    delta_t = r_t + gamma V_t+1 - V_t, A_t = delta_t + gamma lam A_t+1, R_t = A_t + V_t, with 0 past the last token.
    Tokens outside of the mask are passed over, also between others: what a tool answered is no step of the policy.

    Args:
        rewards: (B, T).
        values: (B, T), what the critic expected before each token.
        mask: (B, T), the tokens that the policy wrote.
        gamma: Worth of the next token's return.
        lam: 0 trusts the critic wholly, 1 the rewards alone.
    """
    advantages = torch.zeros_like(values)
    next_value, following = torch.zeros_like(values[:, 0]), torch.zeros_like(values[:, 0])
    for t in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = torch.where(mask[:, t], delta + gamma * lam * following, following)
        next_value = torch.where(mask[:, t], values[:, t], next_value)
        advantages[:, t] = following
    return advantages.masked_fill(~mask, 0), (advantages + values).masked_fill(~mask, 0)


def whitened(values: Tensor, mask: Tensor) -> Tensor:
    """Values (B, T) with mean 0 and variance 1 over all tokens of the mask; 0 elsewhere."""
    centred = values - masked_mean(values, mask)
    variance = masked_mean(centred.square(), mask)
    return (centred / (variance + 1e-8).sqrt()).masked_fill(~mask, 0)


def group_advantages(scores: Tensor) -> Tensor:
    """GRPO: scores (..., K) of K answers to one prompt, less their mean, over their standard deviation (unbiased)."""
    _check_group(scores)
    centred = scores - scores.mean(dim=-1, keepdim=True)
    return centred / (scores.std(dim=-1, keepdim=True) + 1e-4)


def leave_one_out_advantages(scores: Tensor) -> Tensor:
    """RLOO: scores (..., K) of K answers to one prompt, each less the mean of the others."""
    _check_group(scores)
    others = (scores.sum(dim=-1, keepdim=True) - scores) / (scores.shape[-1] - 1)
    return scores - others


def _check_group(scores: Tensor) -> None:
    if scores.shape[-1] < 2:
        raise TrainingError(f"A group has {scores.shape[-1]} answers, but only two or more can be compared.")


@dataclass(kw_only=True)
class RunningScores:
    """Mean and variance of all scores so far, by which scores of a drifting reward model stay of one size.

    Its state is its three attributes. Source: Chan, Golub and LeVeque, 1979 (the update by batches).

    Attributes:
        count: Scores so far.
        mean: Their mean.
        squares: The sum of their squared distances from it.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def normalised(self, scores: Tensor) -> Tensor:
        """Take in the scores (B,) of a batch and give them with mean 0 and variance 1 as of all so far."""
        self._take_in(scores)
        deviation = math.sqrt(self.squares / self.count)
        return (scores - self.mean) / (deviation + 1e-4)

    def _take_in(self, scores: Tensor) -> None:
        exact = scores.detach().double()
        count, mean = exact.numel(), exact.mean().item()
        squares = (exact - mean).square().sum().item()
        away, total = mean - self.mean, self.count + count
        self.squares += squares + away**2 * self.count * count / total
        self.mean += away * count / total
        self.count = total
