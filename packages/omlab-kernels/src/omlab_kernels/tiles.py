"""What a program of each kernel takes at a time: one table by shape, for all cards.

A table and no search at run time, as `triton.autotune` is: a choice by timing would not give the same bits each time.
The first row that a shape fits into counts. Rows for heads of up to 64 numbers in half precision, for dice, norm and
accumulate were the quickest of those tried on an H100 80GB (`tools/gpu/tune.py`, 2026-11-27); the others compile for
compute capability 9.0 and have not been compared. All compile there without spills and with at most 99 KiB of shared
memory, what every GPU since 2020 has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal, NamedTuple

AttentionKernel = Literal["forward", "by_queries", "by_keys"]
SweepKernel = Literal[
    "dice", "norm", "accumulate", "argmax", "fusion", "patch", "distillation", "distillation_backward"
]
PoolingKernel = Literal["pooling", "pooling_slopes", "pooling_rows", "pooling_weights"]
Kind = Literal["half", "single"]

ANY = 1 << 62


class Tile(NamedTuple):
    """Of attention: queries and keys of a tile, warps of a program, and tiles that are loaded ahead."""

    n: int
    m: int
    warps: int
    stages: int


class Pooling(NamedTuple):
    """Of pooling: rows, hidden units and numbers of a row in a tile, warps of a program, tiles loaded ahead."""

    rows: int
    hidden: int
    width: int
    warps: int
    stages: int


class Sweep(NamedTuple):
    """Of all others: numbers of a tile, warps of a program, and programs of a sample (0: one for each tile)."""

    numbers: int
    warps: int
    programs: int = 0


class Fits(NamedTuple):
    """Which attention a row is for: the type of q, and the largest head size, number of tokens and of columns."""

    kind: Kind
    head: int
    tokens: int
    columns: int = ANY


WIDEST_HEAD: dict[Kind, int] = {"half": 256, "single": 128}
"""Of attention: wider ones would spill whatever the tile, and take the plain form."""

ATTENTION: dict[AttentionKernel, dict[Fits, Tile]] = {
    "forward": {
        Fits("half", 64, ANY, 64): Tile(128, 64, 8, 3),
        Fits("half", 64, ANY): Tile(128, 64, 8, 2),
        Fits("half", 128, ANY): Tile(64, 64, 4, 2),
        Fits("half", 256, ANY): Tile(32, 32, 8, 2),
        Fits("single", 64, ANY): Tile(64, 32, 4, 2),
        Fits("single", 128, ANY): Tile(16, 32, 8, 1),
    },
    "by_queries": {
        Fits("half", 64, ANY, 48): Tile(64, 64, 4, 3),
        Fits("half", 64, ANY): Tile(64, 64, 4, 2),
        Fits("half", 128, ANY): Tile(64, 32, 8, 2),
        Fits("half", 256, ANY): Tile(32, 32, 8, 1),
        Fits("single", 64, ANY): Tile(64, 16, 4, 1),
        Fits("single", 128, ANY): Tile(16, 32, 8, 1),
    },
    "by_keys": {
        Fits("half", 64, ANY, 48): Tile(64, 64, 4, 3),
        Fits("half", 64, ANY): Tile(64, 64, 4, 2),
        Fits("half", 128, ANY): Tile(32, 64, 8, 2),
        Fits("half", 256, ANY): Tile(32, 32, 8, 1),
        Fits("single", 64, ANY): Tile(16, 64, 4, 1),
        Fits("single", 128, ANY): Tile(16, 16, 8, 1),
    },
}

COLUMNS: dict[Kind, int] = {"half": 64, "single": 32}
"""Of the factors of attention in one product, at most."""


@cache  # asked for at each launch
def blocks(columns: int, *, kind: Kind) -> tuple[int, int]:
    """Of so many columns of factors: those of a block, and those of a narrower one behind the first (0: none).

    A product takes 16 columns or a power of two more: 72 as 64 and 16 are a third less than as 128. In float32 there
    are whole blocks alone: with a tail some tiles of Triton 3.6 read what is not theirs on an H100.
    """
    widest = COLUMNS[kind]
    fitting = [(block, 0) for block in (16, 32, 64) if block <= widest]
    if kind == "half":
        fitting += [(32, 16), (64, 16), (64, 32)]
    return next((pair for pair in sorted(fitting, key=sum) if columns <= sum(pair)), (widest, 0))


def whole_columns(columns: int, *, kind: Kind) -> int:
    """So many columns filled up to whole blocks."""
    block, tail = blocks(columns, kind=kind)
    return block + tail if tail else -(-columns // block) * block


SWEEPS: dict[SweepKernel, dict[int, Sweep]] = {  # by the largest number of classes, where one stands
    "dice": {32: Sweep(512, 1, 2112), ANY: Sweep(2048, 2, 1056)},  # a warp or two: what threads exchange takes the time
    "norm": {ANY: Sweep(4096, 8)},
    "accumulate": {ANY: Sweep(256, 8)},
    "argmax": {ANY: Sweep(256, 4)},
    "fusion": {ANY: Sweep(1024, 4)},
    "patch": {1024: Sweep(1, 4), ANY: Sweep(1, 8)},  # patches; by their numbers
    "distillation": {ANY: Sweep(2048, 4, 16)},  # by the student's views, rounded up to a power of 2
    "distillation_backward": {ANY: Sweep(4096, 4)},
}

POOLING: dict[PoolingKernel, dict[Kind, Pooling]] = {
    "pooling": {"half": Pooling(128, 64, 64, 8, 3), "single": Pooling(64, 64, 32, 8, 2)},
    "pooling_slopes": {"half": Pooling(128, 64, 64, 8, 2), "single": Pooling(64, 32, 32, 8, 2)},
    "pooling_rows": {"half": Pooling(128, 64, 64, 8, 3), "single": Pooling(64, 32, 64, 8, 2)},
    "pooling_weights": {"half": Pooling(64, 128, 128, 8, 2), "single": Pooling(32, 64, 64, 8, 2)},
}
MOST_BRANCHES = 16
"""Of pooling, which a tile of scores is wide: the least that a product takes. More take the plain form."""
SHARES = 32
"""Of the rows, whose parts of the gradient of V and U are summed by programs of their own."""

_tried: dict[str, Tile | Sweep] = {}


def attention(kernel: AttentionKernel, *, kind: Kind, head: int, tokens: int, columns: int = 0) -> Tile:
    """The tile of a kernel of attention for heads of a size, so many tokens (that its programs share) and columns."""
    if kernel in _tried:
        return _tried[kernel]  # type: ignore[return-value]
    return next(
        tile
        for fits, tile in ATTENTION[kernel].items()
        if kind == fits.kind and head <= fits.head and tokens <= fits.tokens and columns <= fits.columns
    )


def sweep(kernel: SweepKernel, *, classes: int = 0) -> Sweep:
    """What a program of another kernel takes."""
    if kernel in _tried:
        return _tried[kernel]  # type: ignore[return-value]
    return next(row for most, row in SWEEPS[kernel].items() if classes <= most)


@contextmanager
def tried(kernel: AttentionKernel | SweepKernel, instead: Tile | Sweep) -> Iterator[None]:
    """All launches of `kernel` take `instead`: for what tunes the table, and nothing else."""
    _tried[kernel] = instead
    try:
        yield
    finally:
        del _tried[kernel]
