"""Prediction on volumes that do not fit in memory: windows stream through, blocks of labels come out.

    how = SlidingWindow(patch_size=(128, 128, 128), classes=2)
    labels = stream_windows(network, brain, how=how, labels=labels_from_names(["axon"]))       # nothing is computed yet
    omlab.write(labels, "axons.ome.zarr")                                      # computed while it is written

The result is that of the sliding window over the whole volume. The plane is cut into columns; in each the windows go
down along z over sums as deep as one window. What is held at a time is, in bytes,

    column voxels x window depth x (4 K + bytes of the labels + C bytes of the image, with a margin of a window)

whatever the volume's size. Windows that two columns share are predicted twice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab import progress
from omlab_kernels import window_accumulate
from omlab_volume.big.payloads import BigLabelMap, BigVolume
from omlab_volume.big.voxels import Computed, Region, tiles
from omlab_volume.inference.export import label_type, labels_from_scores
from omlab_volume.inference.sliding_window import Network, SlidingWindow
from omlab_volume.inference.tally import Tally
from omlab_volume.inference.windows import gaussian_importance, window_starts
from omlab_volume.volume import Label

Decide = Callable[[Tensor], Tensor]
Box = tuple[slice, slice, slice]  # z, y, x


def stream_windows(
    network: Network,
    volume: BigVolume,
    *,
    how: SlidingWindow,
    labels: Sequence[Label],
    column: tuple[int, int] = (1024, 1024),
    chunk: int = 128,
    empty_up_to: float | None = None,
    decide: Decide | None = None,
) -> BigLabelMap:
    """The label map of a big volume by a sliding window, to be computed while it is written.

    Args:
        network: Windows (B, C, z, y, x) of the volume's own intensities, in float32, to scores (B, K, z, y, x): what is
            done to intensities is its part.
        volume: The image; windows lie along its axes k, j, i as z, y, x.
        how: The window, as for a volume in memory.
        labels: The classes.
        column: Voxels (y, x) of a column: wider ones predict fewer windows twice and hold more.
        chunk: Voxels along each axis of a block's chunks.
        empty_up_to: A window without a voxel above it is not given to the network and adds nothing; a voxel without any
            window is background.
        decide: Mean scores (K, z, y, x) to labels (z, y, x) of unsigned integers; by default the highest score.

    Returns:
        A label map that tells how sure the network was of each class (`omlab_volume.inference.tally`) when it is whole.

    Raises:
        ValueError: `column` is not made of whole chunks.
    """
    if chunk < 1 or any(size < 1 or size % chunk for size in column):
        raise ValueError(f"A column of {column} voxels is not made of whole chunks of {chunk}.")
    run = _Stream(
        network=network,
        volume=volume,
        how=how,
        labels=labels,
        column=column,
        chunk=chunk,
        empty_up_to=empty_up_to,
        decide=decide,
    )
    computed = Computed(
        shape=(1, *volume.grid.shape),
        dtype=np.dtype(label_type(how.classes)),
        chunks=(chunk, chunk, chunk),
        regions=run.regions,
        compute=run.compute,
        counted=run.tally,
    )
    return BigLabelMap(voxels=computed, affine=volume.affine, labels=tuple(labels), source=volume.source)


def stream_blocks(
    function: Callable[[NDArray[Any]], NDArray[Any]],
    volume: BigVolume,
    *,
    block: int,
    halo: int,
    labels: Sequence[Label],
    dtype: type[np.unsignedinteger[Any]] = np.uint8,
    empty_up_to: float | None = None,
) -> BigLabelMap:
    """The label map of a function of blocks with a margin, of which the middle is kept.

    Args:
        function: (C, n, n, n) intensities z, y, x with n = `block` + 2 `halo` to labels (n, n, n); beyond the volume's
            border its nearest voxels stand.
        volume: The image.
        block: Voxels along each axis that are kept of what the function gives.
        halo: Voxels on each side that are not.
        labels: The classes.
        dtype: Of the labels.
        empty_up_to: Where a block and its margin have no voxel above it, the function is not asked: background.
    """
    regions = tiles(volume.grid.shape, (block, block, block))

    def compute(first: int) -> Iterator[NDArray[Any]]:
        for region in regions[first:]:
            outer = [slice(part.start - halo, part.start + block + halo) for part in region[::-1]]
            window = read_padded(volume, outer, mode="edge")
            kept = tuple(slice(halo, halo + part.stop - part.start) for part in region[::-1])
            if empty_up_to is not None and window.max() <= empty_up_to:
                yield np.zeros((1, *(part.stop - part.start for part in region)), dtype)
            else:
                yield np.asarray(function(window), dtype)[kept].transpose(2, 1, 0)[None]

    computed = Computed(
        shape=(1, *volume.grid.shape),
        dtype=np.dtype(dtype),
        chunks=(block, block, block),
        regions=regions,
        compute=compute,
    )
    return BigLabelMap(voxels=computed, affine=volume.affine, labels=tuple(labels), source=volume.source)


def read_padded(volume: BigVolume, box: Sequence[slice], *, mode: str = "constant") -> NDArray[Any]:
    """The voxels (C, z, y, x) of a box z, y, x that may leave the volume: 0 there, or the nearest voxel ("edge")."""
    sizes = volume.grid.shape[::-1]
    inside = [
        slice(min(max(part.start, 0), n - 1), max(min(part.stop, n), 1)) for part, n in zip(box, sizes, strict=True)
    ]
    found = volume.read(inside[::-1]).transpose(0, 3, 2, 1)
    sides = [(have.start - part.start, part.stop - have.stop) for part, have in zip(box, inside, strict=True)]
    if not any(before or after for before, after in sides):
        return found
    return np.pad(found, [(0, 0), *sides], mode="edge" if mode == "edge" else "constant")


@dataclass(eq=False, kw_only=True)
class _Stream:
    """A sliding window over a big volume, column after column, in each down along z."""

    network: Network
    volume: BigVolume
    how: SlidingWindow
    labels: Sequence[Label]
    column: tuple[int, int]
    chunk: int
    empty_up_to: float | None
    decide: Decide | None
    regions: list[Region] = field(default_factory=list)

    def __post_init__(self) -> None:
        how = self.how
        self.size = self.volume.grid.shape[::-1]
        short = [max(0, patch - have) for patch, have in zip(how.patch_size, self.size, strict=True)]
        self.before = [missing // 2 for missing in short]  # windows are counted in the padded image
        self.starts = [
            window_starts(have + missing, patch, how.step)
            for have, missing, patch in zip(self.size, short, how.patch_size, strict=True)
        ]
        planes, rows, columns = self.size
        self.layers = [slice(at, min(at + self.chunk, planes)) for at in range(0, planes, self.chunk)]
        self.columns = [
            (slice(y, min(y + self.column[0], rows)), slice(x, min(x + self.column[1], columns)))
            for y in range(0, rows, self.column[0])
            for x in range(0, columns, self.column[1])
        ]
        self.regions = [(x, y, z) for y, x in self.columns for z in self.layers]
        self.tally = Tally(
            self.labels,
            classes=how.classes,
            voxel_ml=self.volume.grid.voxel_ml,
            blocks=len(self.regions),
            softmax=how.combine == "logits",
        )

    def compute(self, first: int) -> Iterator[NDArray[Any]]:
        """The blocks (1, i, j, k) of `regions` from that number on."""
        number, layer = divmod(first, len(self.layers))
        todo = [
            _Column(stream=self, rows=rows, columns=columns, first=layer if n == 0 else 0)
            for n, (rows, columns) in enumerate(self.columns[number:])
        ]
        tally = self.tally.begin(first)
        with progress.bar("windows", total=sum(column.windows for column in todo)) as advance:
            for column in todo:
                for block, counted in column.layers(advance):
                    tally.take(counted)
                    tally.end_block()
                    yield block.transpose(2, 1, 0)[None]


@dataclass(eq=False, kw_only=True)
class _Column:
    """The windows over one column, from its layer `first` on; `rows` and `columns` are its voxels y and x."""

    stream: _Stream
    rows: slice
    columns: slice
    first: int

    def __post_init__(self) -> None:
        stream, patch = self.stream, self.stream.how.patch_size
        self.begin = stream.layers[self.first].start
        inside = (slice(self.begin, stream.size[0]), self.rows, self.columns)
        # in the padded image, as the windows are
        self.inside = [
            slice(part.start + before, part.stop + before) for part, before in zip(inside, stream.before, strict=True)
        ]
        self.starts = [
            [at for at in starts if at < part.stop and at + size > part.start]
            for starts, part, size in zip(stream.starts, self.inside, patch, strict=True)
        ]

    @property
    def windows(self) -> int:
        """How many there are."""
        return math.prod(len(starts) for starts in self.starts)

    def layers(self, advance: progress.Advance) -> Iterator[tuple[NDArray[Any], Tally]]:
        """The labels (z, y, x) of the column's layers, from the first, each with what was counted of it.

        `advance` is told of each window.
        """
        decided = self._decided(advance)
        for layer in self.stream.layers[self.first :]:
            parts: list[NDArray[Any]] = []
            counted = self.stream.tally.fresh()
            while sum(len(part) for part in parts) < layer.stop - layer.start:
                part, of_part = next(decided)
                parts.append(part)
                counted.take(of_part)
            yield np.concatenate(parts), counted

    def _decided(self, advance: progress.Advance) -> Iterator[tuple[NDArray[Any], Tally]]:
        """Labels (z, y, x) of the column from `begin` on, as soon as their sums are final, layer by layer."""
        patch = self.stream.how.patch_size
        sums = _Sums(self)
        slab: NDArray[Any] | None = None
        base = self.starts[0][0]
        for at in self.starts[0]:
            yield from self._final(sums, slice(base, at))
            sums.drop(at - base)
            slab = self._slab(at, slab, shift=at - base)
            base = at
            self._add_row(sums, slab, advance)
        yield from self._final(sums, slice(base, base + patch[0]))

    def _final(self, sums: _Sums, planes: slice) -> Iterator[tuple[NDArray[Any], Tally]]:
        """Labels (z, y, x) of the first planes of the sums, which are final: those of the column, cut at its layers."""
        pad = self.stream.before[0]
        for layer in self.stream.layers[self.first :]:
            first = max(layer.start + pad, planes.start) - planes.start
            last = min(layer.stop + pad, planes.stop) - planes.start
            if first < last:
                weight = None if sums.weight is None else sums.weight[first:last]
                labels = self._labels(sums.sums[:, first:last], weight)
                counted = self.stream.tally.fresh()
                counted.add_scores(labels, sums.sums[:, first:last], weight=weight)
                yield labels, counted

    def _labels(self, scores: Tensor, weight: Tensor | None) -> NDArray[Any]:
        if weight is None or self.stream.decide is None:
            return labels_from_scores(scores, scores.shape[1:])
        with torch.inference_mode():
            decided = self.stream.decide(scores / weight.clamp_min(torch.finfo(torch.float32).tiny))
            found: NDArray[Any] = torch.where(weight > 0, decided, 0).cpu().numpy()
        return found.astype(label_type(self.stream.how.classes))

    def _slab(self, at: int, before: NDArray[Any] | None, *, shift: int) -> NDArray[Any]:
        """The voxels (C, z, y, x) under the windows at z `at`; what the last slab has of them is not read again."""
        stream, patch = self.stream, self.stream.how.patch_size
        ends = [(starts[0], starts[-1] + size) for starts, size in zip(self.starts[1:], patch[1:], strict=True)]
        kept = 0 if before is None else max(0, patch[0] - shift)
        box = [
            slice(first - pad, last - pad)
            for (first, last), pad in zip([(at + kept, at + patch[0]), *ends], stream.before, strict=True)
        ]
        read = read_padded(stream.volume, box)
        return read if before is None or not kept else np.concatenate([before[:, -kept:], read], axis=1)

    def _add_row(self, sums: _Sums, slab: NDArray[Any], advance: progress.Advance) -> None:
        """Add the scores of all windows of the column at one z, whose voxels are `slab`."""
        how = self.stream.how
        corner = [starts[0] for starts in self.starts[1:]]

        def window(y: int, x: int) -> NDArray[Any]:
            y, x = y - corner[0], x - corner[1]
            return slab[:, :, y : y + how.patch_size[1], x : x + how.patch_size[2]]

        places = list(itertools.product(*self.starts[1:]))
        if self.stream.empty_up_to is not None:
            kept = [place for place in places if window(*place).max() > self.stream.empty_up_to]
            advance(len(places) - len(kept))
            places = kept
        for first in range(0, len(places), how.batch_size):
            batch = places[first : first + how.batch_size]
            with torch.inference_mode():
                stacked = np.stack([window(*place) for place in batch]).astype(np.float32)
                windows = torch.from_numpy(stacked).to(how.device)
                for flip in how.flips():
                    scores = how.forward(self.stream.network, windows, flip=flip)
                    for place, score in zip(batch, scores, strict=True):
                        sums.add(score, place, flip)
                    del scores  # before the next ones are made
            for place in batch:
                sums.count(place)
            advance(len(batch))


class _Sums:
    """Weighted sums (K, z, y, x) of scores over a column, as deep as a window."""

    def __init__(self, column: _Column) -> None:
        how = column.stream.how
        keep = torch.device(how.accumulate_device or how.device)
        rows, columns = column.inside[1:]
        shape = (how.patch_size[0], rows.stop - rows.start, columns.stop - columns.start)
        self.softmax = how.combine == "probabilities"
        self.patch = how.patch_size
        self.plane = (rows, columns)
        if math.prod(len(starts) for starts in column.stream.starts) > 1:
            self.importance = gaussian_importance(how.patch_size, half=not self.softmax).to(keep)
        else:
            self.importance = torch.ones((), device=keep).expand(how.patch_size)
        self.share = self.importance / len(how.flips())
        self.sums = torch.zeros((how.classes, *shape), device=keep)
        # the highest score is the same with or without; how sure it is by logits, and what decides, take the mean
        is_mean = column.stream.decide is not None or not self.softmax
        self.weight = torch.zeros(shape, device=keep) if is_mean else None

    def add(self, scores: Tensor, place: tuple[int, ...], flip: tuple[int, ...]) -> None:
        """Add the part of a window's scores (K, d, h, w), still flipped, that lies in the column."""
        goal, start = self._common(place)
        window_accumulate(
            self.sums[(slice(None), *goal)], scores, self.share, start=start, flip=flip, softmax=self.softmax
        )

    def count(self, place: tuple[int, ...]) -> None:
        """Add a window's weight."""
        if self.weight is not None:
            goal, (z, y, x) = self._common(place)
            box = [slice(at, at + part.stop - part.start) for at, part in zip((z, y, x), goal, strict=True)]
            self.weight[goal] += self.importance[tuple(box)]

    def _common(self, place: tuple[int, ...]) -> tuple[Box, tuple[int, int, int]]:
        """What a window and the column share: where in the sums, and where that begins in the window."""
        goal, start = [slice(0, self.patch[0])], [0]
        for at, size, part in zip(place, self.patch[1:], self.plane, strict=True):
            first, last = max(at, part.start), min(at + size, part.stop)
            goal.append(slice(first - part.start, last - part.start))
            start.append(first - at)
        return (goal[0], goal[1], goal[2]), (start[0], start[1], start[2])

    def drop(self, planes: int) -> None:
        """Let the planes after the first ones move up, and zeros follow."""
        for values in (self.sums, *(() if self.weight is None else (self.weight[None],))):
            depth = values.shape[1]
            for plane in range(depth - planes):  # one by one: what is moved overlaps its goal
                values[:, plane] = values[:, plane + planes]
            values[:, depth - planes :] = 0


__all__ = ["read_padded", "stream_blocks", "stream_windows"]
