"""`relpos_factors` against the N x N bias written out token by token."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_kernels import attention_relpos, relpos_factors, resize_relpos_table


def bias(q: Tensor, tables: list[Tensor], grid: tuple[int, ...]) -> Tensor:
    """The definition."""
    tokens = list(itertools.product(*(range(n) for n in grid)))
    rows = [
        torch.stack([sum(t[i[a] - j[a] + grid[a] - 1] for a, t in enumerate(tables)) for j in tokens]) for i in tokens
    ]
    return torch.einsum("bhnc,nmc->bhnm", q, torch.stack(rows))


@given(grid=st.lists(st.integers(1, 4), min_size=1, max_size=3), heads=st.integers(1, 2), width=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_factors_are_the_bias(grid: list[int], heads: int, width: int) -> None:
    torch.manual_seed(sum(grid))
    q = torch.randn(2, heads, torch.Size(grid).numel(), width, dtype=torch.float64)
    tables = [torch.randn(2 * n - 1, width, dtype=torch.float64) for n in grid]
    found = sum(factor[..., index] for factor, index in relpos_factors(q, tables, grid=grid))
    torch.testing.assert_close(found, bias(q, tables, tuple(grid)))


@pytest.mark.parametrize("grid", [(3, 4), (2, 3, 2)])
def test_attention_and_gradients(grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, torch.Size(grid).numel(), 8, dtype=torch.float64).unbind()
    leaves = [q.requires_grad_(), *(torch.randn(2 * n - 1, 8, dtype=torch.float64).requires_grad_() for n in grid)]
    tables = leaves[1:]
    found = attention_relpos(q, k, v, relpos_factors(q, tables, grid=grid))
    wanted = (q @ k.mT * 8**-0.5 + bias(q, tables, grid)).softmax(-1) @ v
    torch.testing.assert_close(found, wanted)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), leaves),
        torch.autograd.grad(wanted.square().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_tables_are_resized() -> None:
    line = torch.arange(7.0)[:, None].expand(7, 3)
    assert resize_relpos_table(line, 4) is line
    wider = resize_relpos_table(line, 7)
    assert wider.shape == (13, 3)
    torch.testing.assert_close(wider[6], line[3])  # distance 0 stays in the middle
    torch.testing.assert_close(wider[1:-1, 0].diff(), torch.full((10,), 7 / 13))
    q = torch.randn(1, 1, 7, 3)
    by_hand = relpos_factors(q, [wider], grid=[7])[0][0]
    assert torch.equal(relpos_factors(q, [line], grid=[7])[0][0], by_hand)


def test_what_does_not_fit() -> None:
    q = torch.zeros(1, 1, 6, 4)
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        relpos_factors(q, [torch.zeros(3, 4)] * 2, grid=(2, 2))
    with pytest.raises(ValueError, match=r"\(rows, 4\)"):
        relpos_factors(q, [torch.zeros(3, 5), torch.zeros(5, 4)], grid=(2, 3))
    with pytest.raises(ValueError, match="at least one token"):
        resize_relpos_table(torch.zeros(3, 4), 0)
