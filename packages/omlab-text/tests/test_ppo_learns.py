"""The pieces of PPO together: a small policy learns what is rewarded, and the KL weight keeps it near its reference."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from omlab_kernels import linear_log_probs_and_entropy
from omlab_text.training.advantages import RunningScores
from omlab_text.training.kl import AdaptiveKl
from omlab_text.training.ppo import Ppo, Rollout, estimates, ppo_losses

WORDS, TOKENS, ANSWERS = 12, 6, 64


class Policy(nn.Module):
    """Says words one after another by the last one and the place; word 0 begins. It has a critic's head."""

    def __init__(self):
        super().__init__()
        self.word, self.place = nn.Embedding(WORDS, 16), nn.Embedding(TOKENS, 16)
        self.output, self.critic = nn.Linear(16, WORDS, bias=False), nn.Linear(16, 1)

    def forward(self, before):
        return (self.word(before) + self.place(torch.arange(before.shape[1]))).tanh()

    @torch.no_grad()
    def write(self, generator):
        said = torch.zeros(ANSWERS, 1, dtype=torch.long)
        for _ in range(TOKENS):
            chances = self.output(self(said)[:, -1]).softmax(-1)
            said = torch.cat([said, torch.multinomial(chances, 1, generator=generator)], dim=1)
        return said

    def of(self, said):
        """Log-probabilities, entropies and values at each token."""
        hidden = self(said[:, :-1])
        logp, entropy = linear_log_probs_and_entropy(hidden, self.output.weight, said[:, 1:], block=5)
        return logp, entropy, self.critic(hidden)[..., 0]


def learnt(how, *, target, rollouts):
    """The mean score and the mean KL of an answer, in the first rollout and over the last ten."""
    torch.manual_seed(0)
    policy, generator = Policy(), torch.Generator().manual_seed(0)
    reference = copy.deepcopy(policy)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    control, running, rows = AdaptiveKl(target=target, horizon=500), RunningScores(), []
    for step in range(rollouts):
        said = policy.write(generator)
        with torch.no_grad():
            logp, _, values = policy.of(said)
            theirs = reference.of(said)[0]
        scores = (said[:, 1:] % 2 == 0).double().mean(1)
        mask = torch.ones_like(logp, dtype=torch.bool)
        rollout = Rollout(logp=logp, reference=theirs, values=values, scores=scores, mask=mask)
        estimated = estimates(rollout, how, kl_weight=control.coefficient, running=running)
        rows.append((scores.mean().item(), (logp - theirs).sum(1).mean().item()))
        control.update(rows[-1][1], answers=ANSWERS)
        for _ in range(4):
            new, entropy, expected = policy.of(said)
            weight = how.entropy_weight_at(step)
            losses = ppo_losses(
                new, expected, rollout=rollout, estimated=estimated, how=how, entropy=entropy, entropy_weight=weight
            )
            if how.is_far(losses):
                break
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
    return torch.tensor(rows[0]), torch.tensor(rows[-10:]).mean(0)


IMPROVED = Ppo(penalty="loss", over="tokens", clip_higher=0.28, entropy_weight=0.01, entropy_steps=20, stop_kl=0.1)
WAYS = pytest.mark.parametrize("how", [Ppo(), IMPROVED], ids=["plain", "improved"])


@WAYS
def test_the_reward_rises_while_the_policy_stays_within_its_target(how):
    (before, _), (after, kl) = learnt(how, target=6.0, rollouts=40)
    assert before < 0.6
    assert after > 0.9
    assert kl < 6


@WAYS
def test_a_policy_that_has_gone_too_far_comes_back(how):
    """Only even words are 6 log 2 = 4.2 away."""
    (before, _), (after, kl) = learnt(how, target=1.0, rollouts=75)
    assert before + 0.1 < after < 0.9
    assert 0.5 < kl < 2
