"""What the losses and advantages of the training line promise beyond single numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import SettingsError, TrainingError
from omlab_text.training.advantages import (
    RunningScores,
    generalized_advantages,
    group_advantages,
    leave_one_out_advantages,
    token_rewards,
    whitened,
)
from omlab_text.training.kl import AdaptiveKl, kl_estimate
from omlab_text.training.means import masked_mean
from omlab_text.training.ppo import Estimates, Ppo, Rollout, estimates, ppo_losses
from omlab_text.training.ranking import NO_ANSWER, ranking_loss, ranking_losses, ranking_pairs
from omlab_text.training.token_pairs import token_pairs

FEW = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)


def drawn(*shape, seed, **more):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **more)


def drawn_ranks(*shape, seed, highest=5):
    return torch.randint(1, highest, shape, generator=torch.Generator().manual_seed(seed))


def drawn_mask(*shape, seed):
    """At least the first place of each row."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[:, 0] = True
    return mask


@FEW
@given(seeds, st.integers(2, 12), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.1]))
def test_a_prompts_ranking_loss_is_the_mean_over_its_pairs(seed, answers, margin, centring):
    scores, ranks = drawn(answers, seed=seed), drawn_ranks(answers, seed=seed)
    terms = []
    for better, worse in ranking_pairs(ranks).tolist():
        apart = scores[better] - scores[worse] - margin * (ranks[worse] - ranks[better])
        terms.append(-apart.sigmoid().log() + centring * (scores[better] + scores[worse]) ** 2)
    wanted = torch.stack(terms).mean() if terms else torch.tensor(0.0, dtype=torch.float64)
    found = ranking_losses(scores[None], ranks[None], margin=margin, centring=centring)[0]
    torch.testing.assert_close(found, wanted)


@FEW
@given(seeds, st.integers(2, 6))
def test_the_ranking_loss_knows_differences_alone_and_no_order_of_answers(seed, answers):
    scores, ranks = drawn(3, answers, seed=seed), drawn_ranks(3, answers, seed=seed)
    order = torch.randperm(answers, generator=torch.Generator().manual_seed(seed))
    loss = ranking_loss(scores, ranks, margin=0.2)
    torch.testing.assert_close(ranking_loss(scores + 7, ranks, margin=0.2), loss)
    torch.testing.assert_close(ranking_loss(scores[:, order], ranks[:, order], margin=0.2), loss)


def test_prompts_of_different_numbers_of_answers_share_a_batch():
    scores, ranks = drawn(2, 4, seed=0), torch.tensor([[1, 2, 2, 3], [2, 1, NO_ANSWER, NO_ANSWER]])
    scores[1, 2:] = torch.nan
    scores.requires_grad_()
    losses = ranking_losses(scores, ranks)
    torch.testing.assert_close(losses[1:], ranking_losses(scores[1:, :2], ranks[1:, :2]))
    losses.sum().backward()
    assert scores.grad.isfinite().all()


def test_prompts_without_a_pair_weigh_nothing():
    scores, tied = drawn(2, 3, seed=0), torch.tensor([[1, 2, 3], [2, 2, 2]])
    torch.testing.assert_close(ranking_loss(scores, tied), ranking_loss(scores[:1], tied[:1]))
    assert ranking_loss(scores[1:], tied[1:]) == 0


def test_scores_and_ranks_that_do_not_fit_are_told():
    with pytest.raises(TrainingError, match=r"Scores \(2, 3\) and ranks \(2, 4\)"):
        ranking_losses(torch.zeros(2, 3), torch.ones(2, 4, dtype=torch.long))


def test_token_pairs_count_from_the_first_difference_to_the_end_of_the_longer_answer():
    chosen, rejected = drawn(3, 5, seed=0), drawn(3, 5, seed=1)
    ids = torch.tensor([[4, 5, 6, 2, 0], [4, 5, 2, 0, 0], [4, 5, 6, 2, 0]])
    others = torch.tensor([[4, 7, 2, 0, 0], [4, 5, 6, 6, 2], [4, 5, 6, 2, 0]])
    lengths = torch.tensor([4, 3, 4]), torch.tensor([3, 5, 4])
    found = token_pairs(chosen, rejected, ids=(ids, others), lengths=lengths)
    assert found.start.tolist() == [1, 2, 3]  # the last pair is twice the same answer
    assert found.end.tolist() == [4, 5, 4]
    wanted = [
        -(chosen[row] - rejected[row])[start:end].sigmoid().log().mean()
        for row, (start, end) in enumerate([(1, 4), (2, 5), (3, 4)])
    ]
    torch.testing.assert_close(found.losses, torch.stack(wanted))
    torch.testing.assert_close(found.chosen, chosen[[0, 1, 2], [3, 2, 3]])
    torch.testing.assert_close(found.rejected, rejected[[0, 1, 2], [2, 4, 3]])


@FEW
@given(seeds, st.integers(1, 9), st.floats(0, 1))
def test_with_lambda_1_an_advantage_is_what_came_less_what_was_expected(seed, tokens, gamma):
    rewards, values = drawn(2, tokens, seed=seed), drawn(2, tokens, seed=seed + 1)
    mask = torch.ones(2, tokens, dtype=torch.bool)
    advantages, returns = generalized_advantages(rewards, values, mask, gamma=gamma, lam=1.0)
    came = torch.stack([sum(gamma ** (u - t) * rewards[:, u] for u in range(t, tokens)) for t in range(tokens)], 1)
    torch.testing.assert_close(returns, came)
    torch.testing.assert_close(advantages, came - values)


@FEW
@given(seeds, st.integers(1, 9))
def test_tokens_outside_of_the_mask_are_passed_over(seed, tokens):
    rewards, values, mask = (
        drawn(1, tokens, seed=seed),
        drawn(1, tokens, seed=seed + 1),
        drawn_mask(1, tokens, seed=seed),
    )
    dense = [one[mask][None] for one in (rewards, values, mask)]
    for found, wanted in zip(
        generalized_advantages(rewards, values, mask, gamma=0.9, lam=0.8),
        generalized_advantages(*dense, gamma=0.9, lam=0.8),
        strict=True,
    ):
        torch.testing.assert_close(found[mask][None], wanted)
        assert (found[~mask] == 0).all()


def test_a_score_comes_with_the_last_token():
    mask = torch.tensor([[True, True, False], [True, False, True]])
    found = token_rewards(torch.full((2, 3), 0.5), torch.tensor([2.0, 3.0]), mask)
    assert found.tolist() == [[-0.5, 1.5, 0.0], [-0.5, 0.0, 2.5]]
    with pytest.raises(TrainingError, match="without a token"):
        token_rewards(torch.zeros(1, 2), torch.zeros(1), torch.zeros(1, 2, dtype=torch.bool))


@FEW
@given(seeds, st.integers(3, 9))
def test_whitened_values_have_mean_0_and_variance_1(seed, tokens):
    values, mask = 5 + 3 * drawn(2, tokens, seed=seed), drawn_mask(2, tokens, seed=seed)
    found = whitened(values, mask)[mask]
    assert found.mean().item() == pytest.approx(0, abs=1e-9)
    assert found.std(correction=0).item() == pytest.approx(1, abs=1e-3)


@FEW
@given(seeds, st.integers(2, 8))
def test_advantages_in_a_group_are_free_of_a_common_score(seed, answers):
    scores = drawn(3, answers, seed=seed)
    for advantages in (group_advantages, leave_one_out_advantages):
        found = advantages(scores)
        torch.testing.assert_close(found.sum(-1), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
        torch.testing.assert_close(advantages(scores + 4), found)
    others = torch.stack([scores[:, [k for k in range(answers) if k != own]].mean(-1) for own in range(answers)], 1)
    torch.testing.assert_close(leave_one_out_advantages(scores), scores - others)


def test_a_group_of_one_is_refused():
    with pytest.raises(TrainingError, match="has 1 answers"):
        group_advantages(torch.zeros(3, 1))


@FEW
@given(seeds, st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_running_scores_are_those_of_all_batches_together(seed, sizes):
    scores, running = 10 + 2 * drawn(sum(sizes), seed=seed), RunningScores()
    for batch in scores.split(sizes):
        found = running.normalised(batch)
    assert running.mean == pytest.approx(scores.mean().item())
    assert running.squares == pytest.approx((scores - scores.mean()).square().sum().item(), abs=1e-9)
    deviation = scores.std(correction=0) + 1e-4
    torch.testing.assert_close(found, (batch - scores.mean()) / deviation)


def test_kl_estimates_agree_on_average_with_the_divergence():
    policy, reference = drawn(6, seed=0).log_softmax(0), drawn(6, seed=1).log_softmax(0)
    divergence = (policy.exp() * (policy - reference)).sum()
    for estimate in ("k1", "k3"):
        torch.testing.assert_close((policy.exp() * kl_estimate(policy, reference, estimate=estimate)).sum(), divergence)
    assert (kl_estimate(policy, reference, estimate="k3") >= 0).all()


def test_k3_in_a_loss_draws_the_policy_to_its_reference():
    logits, reference = drawn(6, seed=0).requires_grad_(), drawn(6, seed=1).log_softmax(0)
    policy = logits.log_softmax(0)
    loss = (policy.detach().exp() * kl_estimate(policy, reference, estimate="k3")).sum()
    divergence = (reference.exp() * (reference - policy)).sum()
    (found,), (wanted,) = (torch.autograd.grad(one, logits, retain_graph=True) for one in (loss, divergence))
    torch.testing.assert_close(found, wanted)


@FEW
@given(st.floats(0, 100), st.integers(1, 512))
def test_the_kl_weight_rises_beyond_its_target_by_a_bounded_step(kl, answers):
    control = AdaptiveKl(coefficient=1.0)
    weight = control.update(kl, answers=answers)
    assert (weight > 1) == (kl > 6)
    assert abs(weight - 1) <= 0.2 * answers / 10_000 + 1e-12


def test_means_over_sequences_weigh_answers_alike():
    values, mask = torch.tensor([[1.0, 1.0, 1.0], [5.0, 9.0, 9.0]]), torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    assert masked_mean(values, mask, over="tokens") == 2
    assert masked_mean(values, mask, over="sequences") == 3
    assert masked_mean(values, torch.zeros_like(mask), over="sequences") == 0


def rollout(seed, *, tokens=5):
    mask = drawn_mask(3, tokens, seed=seed)
    logp, reference, values = (drawn(3, tokens, seed=seed + n) for n in range(3))
    return Rollout(logp=logp, reference=reference, values=values, scores=drawn(3, seed=seed + 3), mask=mask)


def losses_of(found, how, *, logp=None, **more):
    return ppo_losses(
        found.logp if logp is None else logp,
        found.values,
        rollout=found,
        estimated=estimates(found, how, kl_weight=0.1),
        how=how,
        **more,
    )


@FEW
@given(seeds, st.sampled_from(["tokens", "sequences"]))
def test_the_first_inner_step_is_the_policy_gradient(seed, over):
    found, how = rollout(seed), Ppo(over=over)
    logp = found.logp.clone().requires_grad_()
    losses = losses_of(found, how, logp=logp)
    advantages = estimates(found, how, kl_weight=0.1).advantages
    torch.testing.assert_close(losses.policy, masked_mean(-advantages, found.mask, over=over))
    wanted = torch.autograd.grad(masked_mean(-advantages * logp, found.mask, over=over), logp)[0]
    torch.testing.assert_close(torch.autograd.grad(losses.policy, logp)[0], wanted)
    assert losses.clipped == losses.moved == 0


def test_a_token_that_has_gained_enough_moves_no_further_and_clip_higher_moves_the_bound():
    found = replace(rollout(0), mask=torch.ones(3, 5, dtype=torch.bool))
    gains = Estimates(rewards=found.values, advantages=torch.ones(3, 5), returns=found.values)
    for how, moves in ((Ppo(), False), (Ppo(clip_higher=0.28), True)):
        logp = (found.logp + torch.tensor(1.25).log()).requires_grad_()
        losses = ppo_losses(logp, found.values, rollout=found, estimated=gains, how=how)
        gradient = torch.autograd.grad(losses.policy, logp)[0]
        assert (gradient != 0).all() if moves else (gradient == 0).all()
        assert losses.clipped == (0 if moves else 1)


def test_what_lies_outside_of_the_mask_changes_nothing():
    found = rollout(3, tokens=7)
    other = replace(found, **{
        name: torch.where(found.mask, getattr(found, name), 9.0) for name in ("logp", "reference", "values")
    })  # fmt: skip
    assert not found.mask.all()
    torch.testing.assert_close(losses_of(found, Ppo()).total, losses_of(other, Ppo()).total)


def test_entropy_and_pretraining_are_added_with_their_weights():
    found, how = rollout(0), Ppo(entropy_weight=0.1, entropy_steps=10, pretraining_weight=2.0)
    plain = losses_of(found, replace(how, pretraining_weight=0.0)).total
    entropy = torch.ones_like(found.logp)
    more = {"entropy": entropy, "entropy_weight": how.entropy_weight_at(5), "pretraining": torch.tensor(3.0)}
    torch.testing.assert_close(losses_of(found, how, **more).total, plain - 0.05 + 6)
    assert how.entropy_weight_at(20) == 0
    with pytest.raises(SettingsError, match="pretraining has the weight"):
        losses_of(found, how)


def test_inner_epochs_stop_where_the_policy_has_gone_far():
    found = rollout(0)
    losses = losses_of(found, Ppo(), logp=found.logp + 0.5)
    assert losses.moved == pytest.approx(torch.tensor(0.5).exp().item() - 1.5)
    assert Ppo(stop_kl=0.1).is_far(losses)
    assert not Ppo(stop_kl=0.2).is_far(losses)
    assert not Ppo().is_far(losses)


def test_scores_are_brought_to_one_size_before_they_are_cut():
    found = replace(rollout(0), scores=torch.tensor([90.0, 100.0, 110.0]).double())
    cut = estimates(found, Ppo(), kl_weight=0.0).rewards.sum(1)
    assert cut.tolist() == [5, 5, 5]
    even = estimates(found, Ppo(), kl_weight=0.0, running=RunningScores()).rewards.sum(1)
    assert even.tolist() == pytest.approx([-(1.5**0.5), 0, 1.5**0.5], abs=1e-3)


def test_kl_is_penalised_in_the_rewards_or_in_the_loss():
    found = rollout(0)
    distance = kl_estimate(found.logp, found.reference, estimate="k3")
    rewards = {way: estimates(found, Ppo(penalty=way), kl_weight=0.1) for way in ("reward", "loss")}
    k1 = kl_estimate(found.logp, found.reference).masked_fill(~found.mask, 0)
    torch.testing.assert_close(rewards["loss"].rewards - rewards["reward"].rewards, 0.1 * k1)
    losses = losses_of(found, Ppo(penalty="loss", value_weight=0))
    torch.testing.assert_close(losses.total, losses.policy + 0.1 * masked_mean(distance, found.mask, over="sequences"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"penalty": "k2"}, "KL is penalised in the reward or loss, not in 'k2'"),
        ({"over": "words"}, "A mean is over sequences or tokens, not 'words'"),
        ({"lam": 1.5}, "lam is 1.5, but must be from 0 to 1"),
        ({"clip": 0}, "clip is 0, but must be above 0"),
    ],
)
def test_wrong_settings_are_told(given, said):
    with pytest.raises(SettingsError, match=said):
        Ppo(**given)
