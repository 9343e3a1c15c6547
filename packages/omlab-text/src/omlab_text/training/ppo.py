"""PPO on answers: what is estimated once after they are written, and the losses of each inner step.

The form of InstructGPT, and improvements on it that are off unless asked for (`Ppo`). Here are log-probabilities,
values and scores alone: the policy may be any network, the reference another one or a moving average of the policy.

Source: Schulman et al., Proximal Policy Optimization Algorithms, 2017, equations 7 and 9; Ouyang et al., Training
language models to follow instructions with human feedback, 2022, equation 2; Shao et al., DeepSeekMath, 2024, equation
4 (KL in the loss); Yu et al., DAPO, 2025 (clip higher).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from omlab.errors import SettingsError
from omlab_text.training.advantages import (
    RunningScores,
    generalized_advantages,
    group_advantages,
    leave_one_out_advantages,
    token_rewards,
    whitened,
)
from omlab_text.training.kl import kl_estimate
from omlab_text.training.means import Over, check_over, masked_mean

Penalty = Literal["reward", "loss"]
Groups = Literal["grpo", "rloo"]


@dataclass(frozen=True, kw_only=True)
class Ppo:
    """How a policy learns. The last seven attributes are the improvements.

    Attributes:
        gamma: Worth of the next token's return.
        lam: Of generalized advantage estimation.
        clip: How far the ratio of new to old probability may fall below 1, and rise above it, with a gain.
        value_clip: How far a new value may lie from the old one with a gain.
        value_weight: Of the critic's loss.
        score_clip: Scores beyond this size are cut; None: none are.
        penalty: Where KL from the reference stands: as k1 in the `reward` of each token, or as k3 in the `loss`, as in
            GRPO. (In a reward k3 would drive the policy away: its gradient there is that of KL(policy || reference)
            minus that of KL(reference || policy).)
        over: What the means of the losses are over.
        clip_higher: Another bound above 1, such as 0.28: tokens that were unlikely may gain more (exploration).
        entropy_weight: Of the bonus for undecided policies (exploration).
        entropy_steps: Steps in which that weight falls to 0; 0: it stays.
        pretraining_weight: Of the loss on texts of the pre-training, which keeps a policy from forgetting.
        stop_kl: Mean KL of a token from the policy that wrote it at which inner epochs stop; None: they never do.
    """

    gamma: float = 1.0
    lam: float = 0.95
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    score_clip: float | None = 5.0
    penalty: Penalty = "reward"
    over: Over = "sequences"
    clip_higher: float | None = None
    entropy_weight: float = 0.0
    entropy_steps: int = 0
    pretraining_weight: float = 0.0
    stop_kl: float | None = None

    def __post_init__(self) -> None:
        if self.penalty not in get_args(Penalty):
            raise SettingsError(f"KL is penalised in the {' or '.join(get_args(Penalty))}, not in '{self.penalty}'.")
        check_over(self.over)
        for name, value in (("gamma", self.gamma), ("lam", self.lam)):
            if not 0 <= value <= 1:
                raise SettingsError(f"{name} is {value}, but must be from 0 to 1.")
        for name, bound in (
            ("clip", self.clip),
            ("value_clip", self.value_clip),
            ("score_clip", self.score_clip),
            ("clip_higher", self.clip_higher),
            ("stop_kl", self.stop_kl),
        ):
            if bound is not None and bound <= 0:
                raise SettingsError(f"{name} is {bound}, but must be above 0.")

    def entropy_weight_at(self, step: int) -> float:
        """The weight of the entropy bonus in a step, from 0."""
        left = 1 - step / self.entropy_steps if self.entropy_steps else 1
        return self.entropy_weight * max(left, 0)

    def is_far(self, losses: PpoLosses) -> bool:
        """Whether the policy has gone far enough from the one that wrote the answers for inner epochs to stop."""
        return self.stop_kl is not None and losses.moved > self.stop_kl


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Answers that the policy wrote, as they were found then; none has a gradient.

    Attributes:
        logp: (B, T), log-probabilities of the tokens.
        reference: (B, T), those that the reference gives them.
        values: (B, T), what the critic expected before each token.
        scores: (B,), what the reward model says of the answers.
        mask: (B, T), the tokens that the policy wrote.
    """

    logp: Tensor
    reference: Tensor
    values: Tensor
    scores: Tensor
    mask: Tensor


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """What is estimated of a rollout.

    Attributes:
        rewards: (B, T), and as the others 0 outside of the mask.
        advantages: (B, T), whitened over all of the rollout.
        returns: (B, T).
        kl_weight: Of KL in the loss; 0 where it stands in the rewards.
    """

    rewards: Tensor
    advantages: Tensor
    returns: Tensor
    kl_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PpoLosses:
    """The losses of a step.

    Attributes:
        total: What is minimised.
        policy: The clipped loss of the policy.
        value: The clipped loss of the critic.
        pretraining: The loss on other texts; None: there are none.
        clipped: Share of the tokens whose ratio lies beyond a bound.
        moved: Mean KL (k3) of a token from the policy that wrote it.
    """

    total: Tensor
    policy: Tensor
    value: Tensor
    pretraining: Tensor | None
    clipped: float
    moved: float


def estimates(rollout: Rollout, how: Ppo, *, kl_weight: float, running: RunningScores | None = None) -> Estimates:
    """Rewards, advantages and returns of a rollout.

    Args:
        rollout: The answers.
        how: How the policy learns.
        kl_weight: Of the penalty, such as `AdaptiveKl.coefficient`.
        running: Takes in the scores and brings them to one size before they are cut; None: they stay as they are.
    """
    scores = _scores(rollout, how, running)
    in_reward, in_loss = (kl_weight, 0.0) if how.penalty == "reward" else (0.0, kl_weight)
    penalty = in_reward * kl_estimate(rollout.logp, rollout.reference)
    rewards = token_rewards(penalty, scores, rollout.mask)
    advantages, returns = generalized_advantages(rewards, rollout.values, rollout.mask, gamma=how.gamma, lam=how.lam)
    white = whitened(advantages, rollout.mask)
    return Estimates(rewards=rewards, advantages=white, returns=returns, kl_weight=in_loss)


def group_estimates(
    rollout: Rollout, how: Ppo, *, by: Groups, answers: int, kl_weight: float, running: RunningScores | None = None
) -> Estimates:
    """What `estimates` gives, without a critic: each answer is compared with the others to its prompt.

    Args:
        rollout: Answers, of which so many in a row are to one prompt.
        how: How the policy learns. KL in the reward is that of the whole answer; its `value_weight` should be 0.
        by: Whose advantages they are.
        answers: To a prompt.
        kl_weight: As in `estimates`.
        running: As in `estimates`.

    Raises:
        TrainingError: There is one answer to a prompt.
    """
    scores = _scores(rollout, how, running)
    in_reward, in_loss = (kl_weight, 0.0) if how.penalty == "reward" else (0.0, kl_weight)
    kl = kl_estimate(rollout.logp, rollout.reference).masked_fill(~rollout.mask, 0)
    compare = group_advantages if by == "grpo" else leave_one_out_advantages
    found = compare((scores - in_reward * kl.sum(dim=1)).reshape(-1, answers)).reshape(-1, 1)
    return Estimates(
        rewards=token_rewards(in_reward * kl, scores, rollout.mask),
        advantages=found.expand_as(kl).masked_fill(~rollout.mask, 0),
        returns=rollout.values,
        kl_weight=in_loss,
    )


def ppo_losses(
    logp: Tensor,
    values: Tensor,
    *,
    rollout: Rollout,
    estimated: Estimates,
    how: Ppo,
    entropy: Tensor | None = None,
    entropy_weight: float = 0.0,
    pretraining: Tensor | None = None,
) -> PpoLosses:
    """The losses of a batch of a rollout.

    Args:
        logp: (B, T), log-probabilities that the policy gives its tokens now.
        values: (B, T), what the critic expects now.
        rollout: What was found when they were written.
        estimated: What was estimated of it.
        how: How the policy learns.
        entropy: (B, T), of the policy at each token; needed where it has a weight.
        entropy_weight: `Ppo.entropy_weight_at` this step.
        pretraining: A loss on other texts; needed where `how` gives it a weight.

    Raises:
        SettingsError: Something has a weight and was not given.
    """
    for name, weight, given in (
        ("entropy", entropy_weight, entropy),
        ("pretraining", how.pretraining_weight, pretraining),
    ):
        if weight and given is None:
            raise SettingsError(f"{name} has the weight {weight}, but was not given.")
    mask = rollout.mask
    policy = policy_loss(logp, rollout.logp, estimated.advantages, mask, how=how)
    value = value_loss(values, rollout.values, estimated.returns, mask, how=how)
    total = policy + how.value_weight * value
    if estimated.kl_weight:
        kl = kl_estimate(logp, rollout.reference, estimate="k3")
        total = total + estimated.kl_weight * masked_mean(kl, mask, over=how.over)
    if entropy is not None and entropy_weight:
        total = total - entropy_weight * masked_mean(entropy, mask, over=how.over)
    if pretraining is not None and how.pretraining_weight:
        total = total + how.pretraining_weight * pretraining
    clipped, moved = _gone(logp, rollout, how)
    return PpoLosses(total=total, policy=policy, value=value, pretraining=pretraining, clipped=clipped, moved=moved)


def policy_loss(logp: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, *, how: Ppo) -> Tensor:
    """The mean of max(-A r, -A clip(r)), r being the ratio of new to old probability; all (B, T)."""
    low, high = _bounds(how)
    ratio = (logp - old).exp()
    losses = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(low, high))
    return masked_mean(losses, mask, over=how.over)


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, *, how: Ppo) -> Tensor:
    """Half the mean of max((V - R)^2, (V' - R)^2), V' being at most `value_clip` from the old value; all (B, T)."""
    near = torch.clamp(values, old - how.value_clip, old + how.value_clip)
    losses = torch.maximum((values - returns).square(), (near - returns).square())
    return 0.5 * masked_mean(losses, mask, over=how.over)


def _scores(rollout: Rollout, how: Ppo, running: RunningScores | None) -> Tensor:
    """The scores of one size, and cut, where that is asked for."""
    scores = rollout.scores if running is None else running.normalised(rollout.scores)
    return scores if how.score_clip is None else scores.clamp(-how.score_clip, how.score_clip)


@torch.no_grad()
def _gone(logp: Tensor, rollout: Rollout, how: Ppo) -> tuple[float, float]:
    """The share of tokens beyond a bound, and the mean KL of a token from the policy that wrote it."""
    low, high = _bounds(how)
    ratio = (logp - rollout.logp).exp()
    is_clipped = ((ratio < low) | (ratio > high)).to(ratio.dtype)
    moved = kl_estimate(rollout.logp, logp, estimate="k3")
    return masked_mean(is_clipped, rollout.mask).item(), masked_mean(moved, rollout.mask).item()


def _bounds(how: Ppo) -> tuple[float, float]:
    return 1 - how.clip, 1 + (how.clip if how.clip_higher is None else how.clip_higher)
