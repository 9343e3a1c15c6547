"""`gated_pooling` is its specification, in means, scores and every gradient, for bags of any sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_kernels import gated_pooling, tiles
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


def close_to_the_specification(ours: Case, *, close: float) -> None:
    """Means, scores and every gradient, in terms of the largest value (1 at least); gradients three times as far."""
    theirs = same_as(ours, dtype=torch.float64)
    means, scores = gated_pooling(ours[0], ours[1], **ours[2])
    wanted, wanted_scores = naive.gated_pooling(theirs[0], theirs[1], **theirs[2])
    slope = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1)).to(means.dtype)
    pairs = [(means, wanted, close), (scores, wanted_scores, close)]
    (means * slope).sum().backward()
    (wanted * slope.double()).sum().backward()
    pairs += [(one.grad, other.grad, 3 * close) for one, other in zip(leaves(ours), leaves(theirs), strict=True)]
    for found, expected, far in pairs:
        assert (found.double() - expected).abs().amax() <= far * expected.abs().amax().clamp_min(1)


SMALL = {kernel: dict.fromkeys(("half", "single"), tiles.Pooling(16, 16, 16, 4, 1)) for kernel in tiles.POOLING}
"""Tiles of the fewest numbers that a product takes: small shapes go over several."""


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.one_of(st.integers(0, 2), st.integers(15, 40)), min_size=1, max_size=4).filter(sum),
    width=st.integers(1, 20),
    hidden=st.integers(1, 20),
    branches=st.integers(1, 4),
    gated=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_triton_is_the_specification_for_bags_of_any_sizes(
    interpreted: None, lengths: list[int], width: int, hidden: int, branches: int, gated: bool, seed: int
) -> None:
    """Empty bags anywhere, bags of one row, bags that end in the middle of a tile."""
    case = drawn(lengths, width=width, hidden=hidden, branches=branches, gated=gated, seed=seed, dtype=torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "POOLING", SMALL)
        close_to_the_specification(case, close=1e-5)


def test_triton_at_the_tiles_that_a_gpu_has(interpreted: None) -> None:
    case = drawn([70, 1, 0, 30], width=40, hidden=70, branches=2, gated=True, seed=1, dtype=torch.float32)
    close_to_the_specification(case, close=1e-5)


def test_the_pieces_of_bags_are_put_together_in_their_order(interpreted: None) -> None:
    """Of 40 pieces, more than are put together in one go: the same bits each time."""
    case = drawn([16 * 40, 5], width=3, hidden=2, branches=1, gated=True, seed=2, dtype=torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "POOLING", SMALL)
        close_to_the_specification(case, close=1e-5)
        first, second = (gated_pooling(case[0], case[1], **case[2])[0] for _ in range(2))
    assert torch.equal(first, second)


def test_many_branches_take_the_plain_form(interpreted: None) -> None:
    case = drawn([5, 2], width=4, hidden=3, branches=17, gated=True, seed=6, dtype=torch.float32)
    close_to_the_specification(case, close=1e-5)


def test_bags_without_any_row_have_zeros(each_form: str) -> None:
    rows, offsets, layers = drawn([0, 0], width=3, hidden=2, branches=2, gated=True, seed=7, dtype=torch.float32)
    means, scores = gated_pooling(rows, offsets, **layers)
    means.sum().backward()
    assert not means.any()
    assert scores.shape == (0, 2)
    assert not any(leaf.grad.any() for leaf in leaves((rows, offsets, layers)) if leaf.grad is not None)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 4e-2), (torch.float16, 5e-3)])
def test_sums_are_in_float32_whatever_the_type_of_the_rows(each_form: str, dtype: torch.dtype, close: float) -> None:
    case = drawn([300, 3], width=16, hidden=8, branches=2, gated=True, seed=0, dtype=dtype)
    means, scores = gated_pooling(case[0], case[1], **case[2])
    assert (means.dtype, scores.dtype) == (dtype, torch.float32)
    close_to_the_specification(case, close=close)


def test_scores_far_apart_overflow_nowhere_and_an_empty_bag_has_zeros(each_form: str) -> None:
    rows, offsets, layers = drawn([4, 0, 5], width=3, hidden=2, branches=1, gated=False, seed=3, dtype=torch.float32)
    weight, bias = layers["score"]
    layers["score"] = ((1e4 * weight).detach().requires_grad_(), bias)
    means, _ = gated_pooling(rows, offsets, **layers)
    means.sum().backward()
    assert torch.isfinite(means).all()
    assert not means[1].any()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()


def test_bags_together_are_bags_alone(each_form: str) -> None:
    rows, offsets, layers = drawn([5, 1, 8], width=4, hidden=3, branches=2, gated=True, seed=4, dtype=torch.float32)
    together, _ = gated_pooling(rows, offsets, **layers)
    for bag, (begin, end) in enumerate([(0, 5), (5, 6), (6, 14)]):
        alone, _ = gated_pooling(rows[begin:end], torch.tensor([0, end - begin]), **layers)
        torch.testing.assert_close(alone[0], together[bag], rtol=1e-6, atol=1e-6)


def test_the_operator_is_one_of_pytorch(each_form: str) -> None:
    rows, offsets, layers = drawn([5, 3], width=4, hidden=3, branches=2, gated=True, seed=5, dtype=torch.float32)
    arguments = (rows, offsets, *layers["value"], *layers["gate"], *layers["score"])
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.omlab_kernels.gated_pooling.default, arguments, test_utils=checks)


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
