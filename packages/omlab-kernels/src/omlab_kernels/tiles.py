"""What a program of each kernel takes at a time: one table by shape, for all cards.

A table and no search at run time, as `triton.autotune` is: a choice by timing would not give the same bits each time.
The first row that a shape fits into counts. **No row is tuned yet**: none has met a GPU. They are, in the order of
what the review of the kernels expects most of, those that compile for compute capability 9.0 without spills and with
at most 99 KiB of shared memory, what every GPU since 2020 has. `tools/gpu/tune.py` measures others on a card.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

AttentionKernel = Literal["forward", "by_queries", "by_keys"]
SweepKernel = Literal[
    "dice", "norm", "accumulate", "argmax", "fusion", "patch", "distillation", "distillation_backward"
]
Kind = Literal["half", "single"]

ANY = 1 << 62


class Tile(NamedTuple):
    """Of attention: queries and keys of a tile, warps of a program, and tiles that are loaded ahead."""

    n: int
    m: int
    warps: int
    stages: int


class Sweep(NamedTuple):
    """Of all others: numbers of a tile, warps of a program, and programs of a sample (0: one for each tile)."""

    numbers: int
    warps: int
    programs: int = 0


class Fits(NamedTuple):
    """Which attention a row is for: the type of q, and the largest head size and number of tokens."""

    kind: Kind
    head: int
    tokens: int


WIDEST_HEAD: dict[Kind, int] = {"half": 256, "single": 128}
"""Of attention: wider ones would spill whatever the tile, and take the plain form."""

ATTENTION: dict[AttentionKernel, dict[Fits, Tile]] = {
    "forward": {
        Fits("half", 64, ANY): Tile(128, 64, 8, 3),
        Fits("half", 128, ANY): Tile(64, 64, 4, 2),
        Fits("half", 256, ANY): Tile(32, 32, 8, 2),
        Fits("single", 64, ANY): Tile(64, 32, 4, 2),
        Fits("single", 128, ANY): Tile(16, 32, 8, 1),
    },
    "by_queries": {
        Fits("half", 64, ANY): Tile(128, 64, 8, 2),
        Fits("half", 128, ANY): Tile(64, 32, 8, 2),
        Fits("half", 256, ANY): Tile(32, 32, 8, 1),
        Fits("single", 64, ANY): Tile(64, 16, 4, 1),
        Fits("single", 128, ANY): Tile(16, 32, 8, 1),
    },
    "by_keys": {
        Fits("half", 64, ANY): Tile(64, 128, 8, 2),
        Fits("half", 128, ANY): Tile(32, 64, 8, 2),
        Fits("half", 256, ANY): Tile(32, 32, 8, 1),
        Fits("single", 64, ANY): Tile(16, 64, 4, 1),
        Fits("single", 128, ANY): Tile(16, 16, 8, 1),
    },
}

COLUMNS: dict[Kind, int] = {"half": 64, "single": 32}
"""Of the factors of attention in one product, at most."""

SWEEPS: dict[SweepKernel, dict[int, Sweep]] = {  # by the largest number of classes, where one stands
    "dice": {32: Sweep(2048, 4, 528), ANY: Sweep(4096, 8, 528)},  # four programs on each processor of the largest GPU
    "norm": {ANY: Sweep(2048, 4)},
    "accumulate": {ANY: Sweep(256, 4)},
    "argmax": {ANY: Sweep(256, 4)},
    "fusion": {ANY: Sweep(1024, 4)},
    "patch": {1024: Sweep(1, 4), ANY: Sweep(1, 8)},  # patches; by their numbers
    "distillation": {ANY: Sweep(2048, 4, 16)},  # by the student's views, rounded up to a power of 2
    "distillation_backward": {ANY: Sweep(4096, 4)},
}

_tried: dict[str, Tile | Sweep] = {}


def attention(kernel: AttentionKernel, *, kind: Kind, head: int, tokens: int) -> Tile:
    """The tile of a kernel of attention for heads of a size and so many tokens (of what its programs share out)."""
    if kernel in _tried:
        return _tried[kernel]  # type: ignore[return-value]
    rows = ATTENTION[kernel].items()
    return next(tile for fits, tile in rows if kind == fits.kind and head <= fits.head and tokens <= fits.tokens)


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
