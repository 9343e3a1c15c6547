"""Attention with linear biases is its specification: whole, after kept keys, with padding, and in its gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from omlab_kernels import alibi_bias, alibi_slopes, attention_alibi
from omlab_kernels.alibi import naive, op


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def padded(batch: int, tokens: int, *, seed: int) -> Tensor:
    """A mask of texts of several lengths, padded in front or behind; each has a token at least."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, tokens + 1, (batch, 1), generator=generator)
    places = torch.arange(tokens)
    return places >= tokens - lengths if seed % 2 else places < lengths


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 5),
    queries=st.integers(1, 9),
    offset=st.integers(0, 9),
    more=st.integers(0, 3),
    width=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_outputs_and_gradients_are_those_of_the_specification(
    batch: int, heads: int, queries: int, offset: int, more: int, width: int, seed: int
) -> None:
    keys = offset + queries + more  # a cache of one size has keys that are not written yet
    q, k, v = (
        drawn(batch, heads, count, width, seed=seed + place).requires_grad_()
        for place, count in enumerate((queries, keys, keys))
    )
    mask, slopes = padded(batch, keys, seed=seed), alibi_slopes(heads).double()
    counts = mask[:, None, offset : offset + queries, None]  # of padding there is nothing to see
    weights = counts * drawn(1, 1, queries, width, seed=seed + 3)
    found = attention_alibi(q, k, v, alibi_bias(mask, slopes), mask=mask, offset=offset)
    wanted = naive.attention_alibi(q, k, v, slopes, mask=mask, offset=offset, scale=width**-0.5)
    ours, theirs = ([one * counts, *torch.autograd.grad((one * weights).sum(), (q, k, v))] for one in (found, wanted))
    torch.testing.assert_close(ours, theirs)


def test_slopes_are_those_of_the_paper() -> None:
    assert alibi_slopes(8).tolist() == [2.0**-h for h in range(1, 9)]
    assert alibi_slopes(32)[[0, 3, 31]].tolist() == [pytest.approx(2**-0.25), 0.5, 2.0**-8]
    assert alibi_slopes(6).tolist() == [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]


def test_places_count_from_the_first_token_of_a_text() -> None:
    mask = torch.tensor([[False, True, True, True]])
    assert alibi_bias(mask, torch.tensor([0.5, 0.25])).tolist() == [[[0, 0, 0.5, 1.0], [0, 0, 0.25, 0.5]]]


def test_what_is_kept_gives_what_all_at_once_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first 5 tokens, then 4 in stretches of 2, then one."""
    q, k, v = (drawn(2, 4, 10, 8, seed=seed) for seed in range(3))
    mask, slopes = padded(2, 10, seed=1), alibi_slopes(4)
    bias = alibi_bias(mask, slopes)
    whole = attention_alibi(q, k, v, bias, mask=mask)
    monkeypatch.setattr(op, "_SCORES", 2 * 2 * 4 * 9)
    parts = []
    for first, last in ((0, 5), (5, 9), (9, 10)):
        seen = k[:, :, :last], v[:, :, :last], bias[..., :last]
        parts.append(attention_alibi(q[:, :, first:last], *seen, mask=mask[:, :last], offset=first))
    assert mask.sum(1).tolist() != [10, 10]
    torch.testing.assert_close(torch.cat(parts, 2) * mask[:, None, :, None], whole * mask[:, None, :, None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("offset", [0, 600])
def test_far_places_are_told_apart_in_every_type(dtype: torch.dtype, offset: int) -> None:
    """A bias of 500 has steps of 2 in bfloat16, where tokens are half a step of it apart."""
    q, k, v = (drawn(1, 4, 1000, 64, seed=seed, dtype=dtype) for seed in range(3))
    slopes, mask = alibi_slopes(4) * 2, torch.ones(1, 1000, dtype=torch.bool)
    exact = [one.double() for one in (q[:, :, offset:], k, v)]
    wanted = naive.attention_alibi(*exact, slopes.double(), mask=mask, offset=offset, scale=0.125)
    found = attention_alibi(q[:, :, offset:], k, v, alibi_bias(mask, slopes), offset=offset)
    assert found.dtype == dtype
    bound = {torch.float32: 2e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}[dtype]
    assert (found.double() - wanted).abs().max() < bound * wanted.abs().max()


def test_autocast_keeps_places_apart() -> None:
    q, k, v = (drawn(1, 4, 700, 16, seed=seed, dtype=torch.float32) for seed in range(3))
    bias = alibi_bias(torch.ones(1, 700, dtype=torch.bool), torch.ones(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention_alibi(q, k, v, bias)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), attention_alibi(q, k, v, bias), atol=0.05, rtol=0.05)


def test_a_query_that_sees_nothing_is_finite() -> None:
    q, k, v = (drawn(1, 2, 6, 4, seed=seed, dtype=torch.float16) for seed in range(3))
    mask = torch.tensor([[False, False, False, True, True, True]])
    bias = alibi_bias(mask, alibi_slopes(2))
    assert attention_alibi(q, k, v, bias, mask=mask).isfinite().all()
    assert attention_alibi(q[:, :, 1:3], k, v, bias, mask=mask, offset=1).isfinite().all()


class Largest(TorchDispatchMode):
    """Notes the most entries of a tensor that anything gives."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves(given) if isinstance(one, Tensor)]
        self.entries = max([self.entries, *(one.numel() for one in tensors)])
        return given


def test_nothing_is_as_large_as_all_scores() -> None:
    q, k, v = (drawn(1, 2, 512, 8, seed=seed, dtype=torch.float32).requires_grad_() for seed in range(3))
    bias = alibi_bias(torch.ones(1, 512, dtype=torch.bool), alibi_slopes(2))
    with Largest() as largest:
        attention_alibi(q, k, v, bias).sum().backward()
    assert largest.entries <= 2 * 512 * (8 + 8)  # the widened heads; all scores would be 2 x 512 x 512


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"k": (1, 2, 3, 5)}, r"Queries \(1, 2, 3, 4\), keys \(1, 2, 3, 5\)"),
        ({"offset": 1}, "3 queries after 1 keys need as many keys in all, not 3"),
        ({"bias": (2, 3)}, r"need a bias \(1, 2, 3\), not \(2, 3\)"),
        ({"mask": (2, 3)}, r"need a mask \(1, 3\), not \(2, 3\)"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, Any], said: str) -> None:
    shapes = {"q": (1, 2, 3, 4), "k": (1, 2, 3, 4), "v": (1, 2, 3, 4), "bias": (1, 2, 3), "mask": (1, 3)}
    offset = changed.pop("offset", 0)
    given = {name: torch.zeros(shape) for name, shape in (shapes | changed).items()}
    given["mask"] = given["mask"].bool()
    with pytest.raises(ValueError, match=said):
        attention_alibi(*(given[name] for name in ("q", "k", "v", "bias")), mask=given["mask"], offset=offset)
