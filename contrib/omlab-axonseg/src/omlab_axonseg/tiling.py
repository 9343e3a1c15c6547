"""A whole brain through a network of a fixed window: slabs of slices, windows in them, the middle of each kept.

As D-LMBmap predicts whole brains (Li et al., Nature Methods 2023), but for what it keeps in memory: here a row of
windows, one window's scores and one slab's result at a time. Axes are (z, y, x); a brain on disk is read box by box.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab import progress

Normalise = Literal["last-slice", "slab", "brain"]
Read = Callable[[slice, slice, slice], NDArray[Any]]
"""A box (z, y, x) of the brain, all of it inside."""
Box = tuple[slice, slice, slice]
_TINY = 1e-8


def starts_along(length: int, *, step: int) -> list[int]:
    """First voxels of the kept middles of `step` voxels along `length`: from 0 on, the last one flush with the end."""
    starts = list(range(0, max(length - step, 0) + 1, step))
    return starts if starts[-1] + step >= length else [*starts, length - step]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean and standard deviation (population) of intensities."""

    mean: float
    std: float


def moments_of(read: Read, slices: slice, *, sides: Sequence[int]) -> Moments:
    """Those of whole `slices` of a brain of `sides` (Y, X), read one by one."""
    count, total, squares = 0, 0.0, 0.0
    for at in range(slices.start, slices.stop):
        part = np.asarray(read(slice(at, at + 1), slice(0, sides[0]), slice(0, sides[1])), np.float64)
        count += part.size
        total += float(part.sum())
        squares += float(np.square(part).sum())
    mean = total / count
    return Moments(mean=mean, std=math.sqrt(max(squares / count - mean**2, 0.0)))


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a network is led over a brain.

    Attributes:
        window: voxels a side that the network takes.
        overlap: voxels on each side of a window that are thrown away (published: 20 to 24 of 128).
        normalise: whose mean and standard deviation are taken. "last-slice": those of the last slice that is read for a
            slab, as upstream has it (a slip; the published weights do not depend on it); "slab": of all its slices;
            "brain": of the whole brain, which is read once more.
        skip_below: windows whose brightest voxel is not above this are background without asking the network; None asks
            always.
    """

    window: int = 128
    overlap: int = 20
    normalise: Normalise = "slab"
    skip_below: float | None = None

    def __post_init__(self) -> None:
        if self.overlap < 0 or self.step < 1:
            raise ValueError(f"An overlap of {self.overlap} leaves nothing of a window of {self.window} voxels.")

    @property
    def step(self) -> int:
        """Voxels a side of the kept middle."""
        return self.window - 2 * self.overlap

    def places(self, shape: Sequence[int]) -> list[Box]:
        """Where the rows of `rows` lie in a region of `shape`, in order; the last of an axis overlap those before."""
        depth, height, width = shape
        return [
            (slice(first, min(first + self.step, depth)), slice(top, min(top + self.step, height)), slice(0, width))
            for first in starts_along(depth, step=self.step)
            for top in starts_along(height, step=self.step)
        ]

    def own(self, shape: Sequence[int]) -> list[tuple[slice, slice]]:
        """Of each of `places` the part (z, y) that none after it overlaps."""
        starts = [starts_along(length, step=self.step) for length in shape[:2]]
        ends = [{first: after - first for first, after in itertools.pairwise(along)} for along in starts]
        return [
            (slice(0, ends[0].get(z.start, self.step)), slice(0, ends[1].get(y.start, self.step)))
            for z, y, _ in self.places(shape)
        ]

    def rows(
        self,
        network: Callable[[Tensor], Tensor],
        read: Read,
        *,
        shape: Sequence[int],
        region: Box | None = None,
        begin: int = 0,
        device: str | torch.device = "cpu",
    ) -> Iterator[NDArray[np.uint8]]:
        """The probability of an axon, 0 to 255, for each of `places` from number `begin` on: (dz, dy, X).

        Args:
            network: Takes (1, 1, W, W, W), gives logits (1, 2, W, W, W) or the one logit (1, 1, W, W, W) of an axon.
            read: Gives boxes.
            shape: (Z, Y, X) of the brain.
            region: The part to predict; left out: all.
            begin: Number of the first row.
            device: Where the network is.
        """
        z, y, x = region or (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
        places = self.places([part.stop - part.start for part in (z, y, x)])
        columns = starts_along(x.stop - x.start, step=self.step)
        moments = moments_of(read, slice(0, shape[0]), sides=shape[1:]) if self.normalise == "brain" else None
        slab = -1
        with progress.bar("windows", total=len(places[begin:]) * len(columns)) as advance:
            for depth, height, width in places[begin:]:
                if self.normalise != "brain" and depth.start != slab:
                    slab, moments = depth.start, self._moments(read, z.start + depth.start, shape=shape)
                assert moments is not None
                row = self._row(read, (z.start + depth.start, y.start + height.start), x, shape=shape)
                out = np.zeros(tuple(part.stop - part.start for part in (depth, height, width)), np.uint8)
                for left in columns:
                    target = out[:, :, left : left + self.step]
                    grey = self._grey(network, row[:, :, left : left + self.window], moments, device=device)
                    target[...] = grey[tuple(slice(0, n) for n in target.shape)]
                    advance(1)
                yield out

    def _moments(self, read: Read, first: int, *, shape: Sequence[int]) -> Moments:
        """What the slab from slice `first` on is normalised by."""
        begin, end = max(first - self.overlap, 0), min(first - self.overlap + self.window, shape[0])
        used = slice(end - 1, end) if self.normalise == "last-slice" else slice(begin, end)
        return moments_of(read, used, sides=shape[1:])

    def _row(self, read: Read, corner: tuple[int, int], x: slice, *, shape: Sequence[int]) -> NDArray[Any]:
        """The windows whose middles begin at `corner` (z, y), side by side along `x`: (window, window, ...).

        Around the brain its outermost voxels are repeated in plane, and slices that it does not have are 0.
        """
        length = max(x.stop - x.start, self.step)
        spans = [(at - self.overlap, at - self.overlap + self.window) for at in corner]
        spans.append((x.start - self.overlap, x.start + length + self.overlap))
        inside = [slice(max(low, 0), min(high, n)) for (low, high), n in zip(spans, shape, strict=True)]
        beyond = [(part.start - low, high - part.stop) for part, (low, high) in zip(inside, spans, strict=True)]
        z, y, x_inside = inside
        row = np.pad(np.asarray(read(z, y, x_inside)), [(0, 0), *beyond[1:]], mode="edge")
        return np.pad(row, [beyond[0], (0, 0), (0, 0)])

    def _grey(
        self, network: Callable[[Tensor], Tensor], part: NDArray[Any], moments: Moments, *, device: str | torch.device
    ) -> NDArray[np.uint8]:
        """The middle of one window, 0 to 255."""
        if self.skip_below is not None and part.max() <= self.skip_below:
            return np.zeros((self.step,) * 3, np.uint8)
        image = torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32))
        image = ((image - moments.mean) / (moments.std + _TINY))[None, None].to(device)
        with torch.inference_mode():
            share = axon_probability(network(image))[0]
        middle = slice(self.overlap, self.overlap + self.step)
        return (share[middle, middle, middle].float().cpu().numpy() * 255).astype(np.uint8)


def axon_probability(logits: Tensor) -> Tensor:
    """(B, D, H, W): class 1 of a softmax over (B, 2, ...), or the sigmoid of (B, 1, ...)."""
    return logits.softmax(dim=1)[:, 1] if logits.shape[1] > 1 else logits[:, 0].sigmoid()
