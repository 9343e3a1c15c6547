"""Reading the tiles of a slide in threads, in order, ahead of whoever uses them.

for batch in tiles(slide, patches, batch=64):
    features[batch.indices] = encode(batch.pixels)     # (B, h, w, 3) uint8
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from omlab_slide.grid import Patches
from omlab_slide.readers.mending import Flaw
from omlab_slide.slide import Slide

Pixels = NDArray[np.uint8]
Then = Callable[[Pixels], Pixels]
"""What is done with each tile (h, w, 3) in the thread that read it, such as stain normalisation."""

T = TypeVar("T")

_AT_ONCE = 8
"""Tiles that a thread reads before it asks for more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TileBatch:
    """Tiles that follow each other.

    Attributes:
        pixels: (B, h, w, 3) uint8.
        indices: (B,) which patches they are.
        flaws: Of those that could not be read as they stand, by their index.
    """

    pixels: Pixels
    indices: NDArray[np.int64]
    flaws: Mapping[int, Sequence[Flaw]]

    def __len__(self) -> int:
        return len(self.pixels)


def tiles(
    slide: Slide,
    patches: Patches,
    *,
    batch: int = 64,
    workers: int | None = None,
    start: int = 0,
    then: Then | None = None,
) -> Iterator[TileBatch]:
    """The tiles of patches, in their order, in batches; the last may be smaller.

    At most two batches, or two turns of all threads, are held beyond the one that is used.

    Args:
        slide: Read with one handle a thread.
        patches: Which.
        batch: Tiles at once.
        workers: Threads; by default as many as there are processors, 8 at most.
        start: The first patch, for whoever goes on with what was begun.
        then: What is done with each tile in its thread.
    """
    return tiles_at(
        slide,
        patches.coords,
        downsample=patches.downsample,
        size=patches.size,
        batch=batch,
        workers=workers,
        start=start,
        then=then,
    )


def tiles_at(
    slide: Slide,
    coords: NDArray[np.int32],
    *,
    downsample: float,
    size: int,
    batch: int = 64,
    workers: int | None = None,
    start: int = 0,
    then: Then | None = None,
) -> Iterator[TileBatch]:
    """As `tiles`, of squares of `size` pixels at corners (N, 2) in pixels of level 0, `downsample` times coarser."""
    pixels: Pixels | None = None
    flaws: dict[int, Sequence[Flaw]] = {}
    first = start
    read = then or _as_read
    for tile in each_tile(
        slide, coords, downsample=downsample, size=size, then=read, batch=batch, workers=workers, start=start
    ):
        if pixels is None:
            first = tile.index
            pixels = np.empty((min(batch, len(coords) - first), *tile.value.shape), np.uint8)
        pixels[tile.index - first] = tile.value
        if tile.flaws:
            flaws[tile.index] = tile.flaws
        if tile.index + 1 - first == len(pixels):
            yield TileBatch(pixels=pixels, indices=np.arange(first, tile.index + 1), flaws=flaws)
            pixels, flaws = None, {}


@dataclass(frozen=True, eq=False, kw_only=True)
class Tile(Generic[T]):
    """One tile: which patch it is, what was made of it, and what of it could not be read as it stands."""

    index: int
    value: T
    flaws: Sequence[Flaw]


def each_tile(
    slide: Slide,
    coords: NDArray[np.int32],
    *,
    downsample: float,
    size: int,
    then: Callable[[Pixels], T],
    batch: int = 64,
    workers: int | None = None,
    start: int = 0,
) -> Generator[Tile[T]]:
    """As `tiles_at`, tile by tile, with whatever `then` makes of each: what an encoder takes."""
    threads = workers or min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)
    turns = _turns(start, len(coords), batch=batch)
    ahead = max(2 * batch // _AT_ONCE, 2 * threads)

    def read(turn: range) -> list[Tile[T]]:
        found = []
        for index in turn:
            corner = (int(coords[index, 0]), int(coords[index, 1]))
            region = slide.region_scaled(corner, downsample=downsample, size=(size, size))
            found.append(Tile(index=index, value=then(region.pixels), flaws=region.flaws))
        return found

    waiting: deque[Future[list[Tile[T]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tiles")
    try:
        while True:
            while len(waiting) < ahead and (turn := next(turns, None)) is not None:
                # in a copy of the context, where warnings find their case
                waiting.append(pool.submit(copy_context().run, read, turn))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _as_read(pixels: Pixels) -> Pixels:
    return pixels


def _turns(start: int, stop: int, *, batch: int) -> Iterator[range]:
    """What a thread reads at once: some tiles of one batch."""
    for first in range(start, stop, batch):
        last = min(first + batch, stop)
        for begin in range(first, last, _AT_ONCE):
            yield range(begin, min(begin + _AT_ONCE, last))
