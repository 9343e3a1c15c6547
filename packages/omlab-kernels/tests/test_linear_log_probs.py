"""Blocks of words give what all words at once give, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from omlab_kernels import linear_cross_entropy, linear_log_probs, linear_log_probs_and_entropy
from omlab_kernels.vocabulary import naive, plain

IGNORED = -100
Drawn = tuple[Tensor, Tensor, Tensor]


def drawn(*, tokens: tuple[int, ...], words: int, width: int, seed: int, dtype: torch.dtype = torch.float64) -> Drawn:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*tokens, width, generator=generator, dtype=dtype).requires_grad_()
    output = torch.randn(words, width, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(0, words, tokens, generator=generator)
    targets[torch.rand(tokens, generator=generator) < 0.3] = IGNORED
    return hidden, output, targets


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=2),
    st.integers(1, 23),
    st.integers(1, 5),
    st.integers(1, 30),
    st.integers(0, 2**31),
)
def test_log_probabilities_entropy_and_gradients_are_exact(
    tokens: list[int], words: int, width: int, block: int, seed: int
) -> None:
    hidden, output, targets = drawn(tokens=tuple(tokens), words=words, width=width, seed=seed)
    weights = torch.randn(2, *targets.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    results = []
    for found in (
        linear_log_probs_and_entropy(hidden, output, targets, block=block),
        naive.linear_log_probs(hidden, output, targets, ignore=IGNORED),
    ):
        total = sum((one * weight).sum() for one, weight in zip(found, weights, strict=True))
        results.append([*found, *torch.autograd.grad(total, (hidden, output))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(linear_log_probs(hidden, output, targets, block=block), results[1][0])


def test_the_loss_is_torchs() -> None:
    hidden, output, targets = drawn(tokens=(3, 7), words=50, width=8, seed=0, dtype=torch.float32)
    wanted = torch.nn.functional.cross_entropy(linear(hidden, output).flatten(0, 1), targets.flatten())
    loss = linear_cross_entropy(hidden, output, targets, block=7)
    torch.testing.assert_close(loss, wanted)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (hidden, output)), torch.autograd.grad(wanted, (hidden, output)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_frozen_matrix_gets_no_gradient_and_hidden_states_the_same() -> None:
    hidden, output, targets = drawn(tokens=(6,), words=20, width=4, seed=1)
    linear_cross_entropy(hidden, output, targets, block=6).backward()
    learnt, hidden.grad = hidden.grad, None
    frozen = output.detach()
    linear_cross_entropy(hidden, frozen, targets, block=6).backward()
    torch.testing.assert_close(hidden.grad, learnt)
    assert frozen.grad is None


class Largest(TorchDispatchMode):
    """Notes the most entries of a tensor that anything gives."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves(given) if isinstance(one, torch.Tensor)]
        self.entries = max([self.entries, *(one.numel() for one in tensors)])
        return given


def test_nothing_is_as_large_as_the_logits_of_all_words() -> None:
    hidden, output, targets = (one.detach() for one in drawn(tokens=(60,), words=3000, width=4, seed=3))
    with Largest() as largest:
        logp, entropy, total = plain.forward(hidden, output, targets, IGNORED, 50, True)
        plain.backward(logp, entropy, hidden, output, targets, entropy, total, IGNORED, 50, True, [True, True])
    assert largest.entries == output.numel() == 12_000  # its gradient; the logits would be 180,000


@pytest.mark.parametrize("autocast", [False, True])
def test_in_bfloat16_it_is_as_near_as_the_plain_form(autocast: bool) -> None:
    hidden, output, targets = drawn(tokens=(16,), words=64, width=32, seed=2, dtype=torch.float32)
    if not autocast:
        hidden, output = (one.detach().bfloat16().requires_grad_() for one in (hidden, output))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        ours = linear_log_probs(hidden, output, targets, block=10)
        theirs = naive.linear_log_probs(hidden, output, targets, ignore=IGNORED)[0]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    for mine, wanted in zip(
        torch.autograd.grad(ours.sum(), (hidden, output)),
        torch.autograd.grad(theirs.sum(), (hidden, output)),
        strict=True,
    ):
        assert mine.dtype == wanted.dtype
        torch.testing.assert_close(mine, wanted, atol=0.05, rtol=0.02)


def test_large_logits_stay_finite() -> None:
    hidden, output, targets = drawn(tokens=(5,), words=9, width=3, seed=4, dtype=torch.float32)
    found = linear_log_probs_and_entropy(1e4 * hidden, output, targets, block=2)
    torch.testing.assert_close(found[0], naive.linear_log_probs(1e4 * hidden, output, targets, ignore=IGNORED)[0])
    assert found[1].isfinite().all()


def test_without_a_target_the_loss_is_0_and_can_be_learnt_from() -> None:
    hidden, output, targets = drawn(tokens=(4,), words=9, width=3, seed=5)
    loss = linear_cross_entropy(hidden, output, torch.full_like(targets, IGNORED))
    loss.backward()
    assert loss == 0
    assert (hidden.grad == 0).all()
    assert (output.grad == 0).all()


def test_the_operator_is_one_of_pytorch() -> None:
    hidden, output, targets = drawn(tokens=(6,), words=20, width=4, seed=6)
    torch.library.opcheck(torch.ops.omlab_kernels.linear_log_probs.default, (hidden, output, targets, IGNORED, 7, True))


@pytest.mark.parametrize(
    ("targets", "said"),
    [([1, 9], "Targets from 1 to 9 are not all of 9 words"), ([-1, 2], "Targets from -1 to 2"), ([1], "do not fit")],
)
def test_what_cannot_be_is_told(targets: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        linear_log_probs(torch.zeros(2, 3), torch.zeros(9, 3), torch.tensor(targets))
