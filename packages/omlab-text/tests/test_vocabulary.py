"""Blocks of words give what all words at once give, forward and backward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from omlab.errors import TrainingError
from omlab_text.training.vocabulary import IGNORED, cross_entropy, log_probs, log_probs_and_entropy


def drawn(*, tokens, words, width, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*tokens, width, generator=generator, dtype=dtype).requires_grad_()
    output = torch.randn(words, width, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(0, words, tokens, generator=generator)
    targets[torch.rand(tokens, generator=generator) < 0.3] = IGNORED
    return hidden, output, targets


def eager(hidden, output, targets):
    """All logits at once: log-probabilities and entropy, 0 where a target is ignored."""
    logits = linear(hidden, output)
    logp = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    counts = targets != IGNORED
    chosen = logp.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return chosen * counts, -(logp.exp() * logp).sum(-1) * counts


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=2),
    st.integers(1, 23),
    st.integers(1, 5),
    st.integers(1, 30),
    st.integers(0, 2**31),
)
def test_log_probabilities_entropy_and_gradients_are_exact(tokens, words, width, block, seed):
    hidden, output, targets = drawn(tokens=tuple(tokens), words=words, width=width, seed=seed)
    weights = torch.randn(2, *targets.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    results = []
    for found in (
        log_probs_and_entropy(hidden, output, targets, block=block),
        eager(hidden, output, targets),
    ):
        total = sum((one * weight).sum() for one, weight in zip(found, weights, strict=True))
        results.append([*found, *torch.autograd.grad(total, (hidden, output))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(log_probs(hidden, output, targets, block=block), results[1][0])


def test_the_loss_is_torchs():
    hidden, output, targets = drawn(tokens=(3, 7), words=50, width=8, seed=0, dtype=torch.float32)
    wanted = torch.nn.functional.cross_entropy(linear(hidden, output).flatten(0, 1), targets.flatten())
    loss = cross_entropy(hidden, output, targets, block=7)
    torch.testing.assert_close(loss, wanted)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (hidden, output)), torch.autograd.grad(wanted, (hidden, output)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_frozen_matrix_gets_no_gradient_and_hidden_states_the_same():
    hidden, output, targets = drawn(tokens=(6,), words=20, width=4, seed=1)
    cross_entropy(hidden, output, targets, block=6).backward()
    learnt, hidden.grad = hidden.grad, None
    frozen = output.detach()
    cross_entropy(hidden, frozen, targets, block=6).backward()
    torch.testing.assert_close(hidden.grad, learnt)
    assert frozen.grad is None


class Largest(TorchDispatchMode):
    """Notes the most entries of a tensor that anything gives."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves(given) if isinstance(one, torch.Tensor)]
        self.entries = max([self.entries, *(one.numel() for one in tensors)])
        return given


def test_nothing_is_as_large_as_the_logits_of_all_words():
    hidden, output, targets = drawn(tokens=(60,), words=3000, width=4, seed=3)
    with Largest() as largest:
        cross_entropy(hidden, output, targets, block=50).backward()
    assert largest.entries == output.numel() == 12_000  # its gradient; the logits would be 180,000


@pytest.mark.parametrize("autocast", [False, True])
def test_in_bfloat16_it_is_as_near_as_the_plain_form(autocast):
    hidden, output, targets = drawn(tokens=(16,), words=64, width=32, seed=2, dtype=torch.float32)
    if not autocast:
        hidden, output = (one.detach().bfloat16().requires_grad_() for one in (hidden, output))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        ours = log_probs(hidden, output, targets, block=10)
        theirs = eager(hidden, output, targets)[0]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    for mine, wanted in zip(
        torch.autograd.grad(ours.sum(), (hidden, output)),
        torch.autograd.grad(theirs.sum(), (hidden, output)),
        strict=True,
    ):
        assert mine.dtype == wanted.dtype
        torch.testing.assert_close(mine, wanted, atol=0.05, rtol=0.02)


def test_large_logits_stay_finite():
    hidden, output, targets = drawn(tokens=(5,), words=9, width=3, seed=4, dtype=torch.float32)
    found = log_probs_and_entropy(1e4 * hidden, output, targets, block=2)
    torch.testing.assert_close(found[0], eager(1e4 * hidden, output, targets)[0])
    assert found[1].isfinite().all()


def test_without_a_target_the_loss_is_0_and_can_be_learnt_from():
    hidden, output, targets = drawn(tokens=(4,), words=9, width=3, seed=5)
    loss = cross_entropy(hidden, output, torch.full_like(targets, IGNORED))
    loss.backward()
    assert loss == 0
    assert (hidden.grad == 0).all()
    assert (output.grad == 0).all()


@pytest.mark.parametrize(
    ("targets", "said"),
    [([1, 9], "Targets from 1 to 9 are not all of 9 words"), ([-1, 2], "Targets from -1 to 2"), ([1], "do not fit")],
)
def test_what_cannot_be_is_told(targets, said):
    with pytest.raises(TrainingError, match=said):
        log_probs(torch.zeros(2, 3), torch.zeros(9, 3), torch.tensor(targets))
