"""`gated_pooling` is its specification, in means, scores and every gradient, for bags of any sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_kernels import gated_pooling
from omlab_kernels.gated_pooling import naive, plain

Case = tuple[Tensor, Tensor, dict[str, Any]]


def drawn(
    lengths: list[int], *, width: int, hidden: int, branches: int, gated: bool, seed: int, dtype: torch.dtype
) -> Case:
    """Rows, offsets and layers, each a leaf that requires a gradient."""
    draw = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()

    layers: dict[str, Any] = {
        "value": (leaf(hidden, width), leaf(hidden)),
        "gate": (leaf(hidden, width), leaf(hidden)) if gated else None,
        "score": (leaf(branches, hidden), leaf(branches)),
    }
    return leaf(sum(lengths), width), torch.tensor([0, *lengths]).cumsum(0), layers


def leaves(case: Case) -> list[Tensor]:
    rows, _, layers = case
    return [rows, *(part for layer in layers.values() if layer is not None for part in layer)]


def same_as(case: Case, *, dtype: torch.dtype) -> Case:
    rows, offsets, layers = case

    def copied(layer: Any) -> Any:
        return None if layer is None else tuple(part.detach().to(dtype).requires_grad_() for part in layer)

    return rows.detach().to(dtype).requires_grad_(), offsets, {name: copied(layer) for name, layer in layers.items()}


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    width=st.integers(1, 6),
    hidden=st.integers(1, 5),
    branches=st.integers(1, 3),
    gated=st.booleans(),
    tile=st.integers(1, 10),
    seed=st.integers(0, 1000),
)
def test_it_is_the_specification(
    lengths: list[int], width: int, hidden: int, branches: int, gated: bool, tile: int, seed: int
) -> None:
    ours = drawn(lengths, width=width, hidden=hidden, branches=branches, gated=gated, seed=seed, dtype=torch.float64)
    theirs = same_as(ours, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "TILE", tile)
        means, scores = gated_pooling(ours[0], ours[1], **ours[2])
        slope = torch.randn(means.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
        (means * slope).sum().backward()
    wanted, wanted_scores = naive.gated_pooling(theirs[0], theirs[1], **theirs[2])
    (wanted * slope).sum().backward()
    torch.testing.assert_close(means, wanted)
    torch.testing.assert_close(scores, wanted_scores.detach())
    assert not scores.requires_grad
    for found, expected in zip(leaves(ours), leaves(theirs), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 4e-2), (torch.float16, 5e-3)])
def test_sums_are_in_float32_whatever_the_type_of_the_rows(dtype: torch.dtype, close: float) -> None:
    ours = drawn([700, 3], width=16, hidden=8, branches=2, gated=True, seed=0, dtype=dtype)
    theirs = same_as(ours, dtype=torch.float64)
    means, scores = gated_pooling(ours[0], ours[1], **ours[2])
    wanted, wanted_scores = naive.gated_pooling(theirs[0], theirs[1], **theirs[2])
    assert (means.dtype, scores.dtype) == (dtype, torch.float32)
    assert (means.double() - wanted).abs().max() < close * wanted.abs().max()
    assert (scores.double() - wanted_scores).abs().max() < close * wanted_scores.abs().max()
    means.sum().backward()
    wanted.sum().backward()
    for found, expected in zip(leaves(ours), leaves(theirs), strict=True):
        assert found.grad is not None
        assert expected.grad is not None
        assert (found.grad.double() - expected.grad).abs().max() <= 3 * close * expected.grad.abs().max() + 1e-9


def test_scores_far_apart_overflow_nowhere_and_an_empty_bag_has_zeros() -> None:
    rows, offsets, layers = drawn([4, 0, 5], width=3, hidden=2, branches=1, gated=False, seed=3, dtype=torch.float32)
    weight, bias = layers["score"]
    layers["score"] = ((1e4 * weight).detach().requires_grad_(), bias)
    means, _ = gated_pooling(rows, offsets, **layers)
    means.sum().backward()
    assert torch.isfinite(means).all()
    assert not means[1].any()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()


def test_bags_together_are_bags_alone() -> None:
    rows, offsets, layers = drawn([5, 1, 8], width=4, hidden=3, branches=2, gated=True, seed=4, dtype=torch.float32)
    together, _ = gated_pooling(rows, offsets, **layers)
    for bag, (begin, end) in enumerate([(0, 5), (5, 6), (6, 14)]):
        alone, _ = gated_pooling(rows[begin:end], torch.tensor([0, end - begin]), **layers)
        torch.testing.assert_close(alone[0], together[bag], rtol=1e-6, atol=1e-6)


def test_autograd_and_the_compiler_know_it() -> None:
    rows, offsets, layers = drawn([5, 3], width=4, hidden=3, branches=2, gated=True, seed=5, dtype=torch.float64)
    arguments = (rows, offsets, *layers["value"], *layers["gate"], *layers["score"])
    operator = torch.ops.omlab_kernels.gated_pooling.default
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator, arguments, test_utils=checks)
    assert torch.autograd.gradcheck(lambda *given: operator(given[0], offsets, *given[1:])[0], (rows, *arguments[2:]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"offsets": torch.tensor([0, 2], dtype=torch.int32)}, "int64 offsets"),
        ({"gate": (torch.zeros(3, 5), torch.zeros(3))}, r"need gate \(3, 4\) with a bias \(3,\), not \(3, 5\)"),
        ({"score": (torch.zeros(2, 4), torch.zeros(2))}, r"need score \(2, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change: dict[str, Any], said: str) -> None:
    given = {
        "offsets": torch.tensor([0, 2]),
        "value": (torch.zeros(3, 4), torch.zeros(3)),
        "gate": None,
        "score": (torch.zeros(2, 3), torch.zeros(2)),
    } | change
    with pytest.raises(ValueError, match=said):
        gated_pooling(torch.zeros(2, 4), given.pop("offsets"), **given)
