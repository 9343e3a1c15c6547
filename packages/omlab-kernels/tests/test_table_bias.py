"""Attention with a looked-up relative position against its naive form, and when what was laid out is kept."""

from __future__ import annotations

import copy
import pickle  # noqa: TID251  # a module that is sent to another process
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from omlab_kernels import LaidOutTable, attention_table_bias, lay_out, table_index, table_rows
from omlab_kernels.table_bias import naive

SIDES = st.integers(1, 4)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=15, deadline=None)
@given(height=SIDES, width=SIDES, class_token=st.booleans())
def test_outputs_and_gradients_are_those_of_the_naive_form(height: int, width: int, class_token: bool) -> None:
    grid = (height, width)
    tokens, rows = height * width + class_token, table_rows(grid, class_token=class_token)
    q, k, v = (drawn(2, 3, tokens, 4, seed=n).requires_grad_() for n in range(3))
    table = drawn(rows, 3, seed=3).requires_grad_()
    slope = drawn(2, 3, tokens, 4, seed=4)

    expected = naive.attention_table_bias(q, k, v, table, grid=grid, class_token=class_token, scale=0.5)
    found = attention_table_bias(q, k, v, lay_out(table, table_index(grid, class_token=class_token)), scale=0.5)

    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad((expected * slope).sum(), [q, k, v, table])
    for ours, theirs in zip(torch.autograd.grad((found * slope).sum(), [q, k, v, table]), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_every_row_of_a_table_is_used() -> None:
    index = table_index((3, 5), class_token=True)
    assert set(index.flatten().tolist()) == set(range(table_rows((3, 5), class_token=True)))


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(drawn(table_rows((2, 2), class_token=True), 2, dtype=torch.float32))
        self.index = table_index((2, 2), class_token=True)
        self.laid_out = LaidOutTable()

    def forward(self, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.laid_out(self.table, self.index, dtype=dtype)


@pytest.fixture
def holder() -> Holder:
    return Holder()


def test_it_is_laid_out_once(holder: Holder) -> None:
    with torch.no_grad():
        assert holder() is holder()


def test_with_gradients_nothing_is_kept(holder: Holder) -> None:
    first = holder()
    first.sum().backward()  # type: ignore[no-untyped-call]
    assert holder.table.grad is not None
    assert holder() is not first


def _step(holder: Holder) -> None:
    holder.table.grad = torch.ones_like(holder.table)
    torch.optim.SGD([holder.table], lr=1.0).step()


def _load(holder: Holder) -> None:
    holder.load_state_dict({"table": torch.zeros_like(holder.table)})


def _replace(holder: Holder) -> None:
    holder.table = nn.Parameter(holder.table.detach() + 1)


def _assign(holder: Holder) -> None:
    holder.table.data = holder.table.data + 1


@pytest.mark.parametrize("change", [_step, _load, _replace, _assign])
def test_another_table_is_laid_out_anew(holder: Holder, change: Any) -> None:
    with torch.no_grad():
        holder()
    change(holder)
    with torch.no_grad():
        assert torch.equal(holder(), lay_out(holder.table, holder.index))


def test_another_type_is_laid_out_anew(holder: Holder) -> None:
    with torch.no_grad():
        assert holder().dtype == torch.float32
        assert holder(torch.bfloat16).dtype == torch.bfloat16


def test_what_was_kept_in_inference_mode_serves_outside(holder: Holder) -> None:
    with torch.inference_mode():
        kept = holder()
    assert not kept.is_inference()
    with torch.no_grad():
        assert holder() is kept


def test_a_table_made_in_inference_mode_is_never_kept() -> None:
    with torch.inference_mode():
        holder = Holder()
        first = holder()
        holder.table.add_(1)
        assert not torch.equal(holder(), first)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_its_own(holder: Holder, copied: Any) -> None:
    with torch.no_grad():
        holder()
        other = copied(holder)
        other.table.add_(1)
        assert torch.equal(other(), holder() + 1)
