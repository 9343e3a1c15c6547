"""Tables for another grid: exact where a spline is, mended where upstream is at fault."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_usfm.tables import resize_table, source_distances, table_side


def table(grid: int, *, heads: int = 2) -> Tensor:
    return torch.randn((2 * grid - 1) ** 2 + 3, heads, generator=torch.Generator().manual_seed(grid))


@settings(max_examples=20, deadline=None)
@given(source=st.integers(2, 9), target=st.integers(2, 14))
def test_always_finite_and_whole(source: int, target: int) -> None:
    before = table(source)
    after = resize_table(before, target)
    assert table_side(after) == target
    assert after.isfinite().all()
    assert torch.equal(after[-3:], before[-3:])


def test_the_same_grid_is_given_back() -> None:
    before = table(5)
    assert resize_table(before, 5) is before


def test_the_axes_are_kept() -> None:
    """A table that depends on dy alone does so afterwards; upstream's then depends on dx alone."""
    along = torch.linspace(-1, 1, 13)
    before = torch.cat([along.repeat_interleave(13), torch.zeros(3)])[:, None]
    mended = resize_table(before, 10)[:-3, 0].view(19, 19)
    upstream = resize_table(before, 10, form="upstream")[:-3, 0].view(19, 19)
    assert mended.std(dim=1).max() < 1e-6
    assert mended.std(dim=0).min() > 0.1
    known = ~upstream.isnan().any(dim=1)
    assert upstream[known].std(dim=0).max() < 1e-5


def test_near_distances_are_where_they_were() -> None:
    """0 and 1 patch apart stay the same rows, whatever the grid: the ratio acts from there outwards."""
    before = table(7)
    after = resize_table(before, 12)
    old, new = before[:-3].view(13, 13, -1), after[:-3].view(23, 23, -1)
    torch.testing.assert_close(new[10:13, 10:13], old[5:8, 5:8])


def test_upstream_leaves_gaps_where_the_search_stops_short() -> None:
    _, at = source_distances(14, 16)
    assert at[-1] < 15
    assert resize_table(table(14), 16, form="upstream").isnan().sum() == 240
    assert np.isclose(at[14], 1.0)


@pytest.mark.parametrize("rows", [0, 3, 4 + 3, 16 + 3, 51])
def test_what_is_no_table_is_said(rows: int) -> None:
    with pytest.raises(ValueError, match="rows"):
        table_side(torch.zeros(rows, 2))
