"""The table of tiles: what a shape gets, and that trying another one is over when it is."""

from __future__ import annotations

import pytest

from omlab_kernels import tiles


@pytest.mark.parametrize("kernel", ["forward", "by_queries", "by_keys"])
@pytest.mark.parametrize("kind", ["half", "single"])
def test_every_head_that_a_kernel_takes_has_a_tile(kernel: tiles.AttentionKernel, kind: tiles.Kind) -> None:
    sizes = range(1, tiles.WIDEST_HEAD[kind] + 1)
    found = [tiles.attention(kernel, kind=kind, head=size, tokens=1 << 20) for size in sizes]
    areas = [tile.n * tile.m for tile in found]
    assert areas == sorted(areas, reverse=True)  # a wider head leaves fewer registers for scores
    assert all(side >= 16 and side & (side - 1) == 0 for tile in found for side in tile[:2])  # as tensor cores ask


def test_the_first_row_that_fits_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = tiles.Tile(64, 64, 4, 3), tiles.Tile(128, 64, 8, 3)
    rows = {tiles.Fits("half", 64, 1024): few, tiles.Fits("half", 64, tiles.ANY): many}
    monkeypatch.setitem(tiles.ATTENTION, "forward", rows)
    assert tiles.attention("forward", kind="half", head=64, tokens=1024) == few
    assert tiles.attention("forward", kind="half", head=64, tokens=1025) == many


def test_a_tile_is_tried_and_forgotten() -> None:
    usual, other = tiles.sweep("dice", classes=14), tiles.Sweep(1024, 8, 264)
    with tiles.tried("dice", other):
        assert tiles.sweep("dice", classes=14) == other
        assert tiles.sweep("norm") != other
    assert tiles.sweep("dice", classes=14) == usual


@pytest.mark.parametrize("kind", ["half", "single"])
def test_columns_go_in_the_fewest_that_a_product_takes(kind: tiles.Kind) -> None:
    for columns in range(1, 600):
        block, tail = tiles.blocks(columns, kind=kind)
        whole = tiles.whole_columns(columns, kind=kind)
        assert columns <= whole < columns + block
        assert block <= tiles.COLUMNS[kind]
        assert not tail or whole == block + tail  # a tail is behind the first block alone
    assert [tiles.blocks(columns, kind="half") for columns in (24, 48, 72)] == [(32, 0), (32, 16), (64, 16)]
