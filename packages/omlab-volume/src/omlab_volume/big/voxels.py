"""Voxels that are read by region: from a file, from memory, or computed block by block when they are asked for.

A region is three slices (i, j, k) of voxels. Arrays are (C, i, j, k), as those of a `Volume`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError

Region = tuple[slice, slice, slice]
Shape3 = tuple[int, int, int]
Shape4 = tuple[int, int, int, int]


class Voxels(Protocol):
    """Voxels that are read by region.

    `chunks` (i, j, k) is how they are stored or computed: regions along its borders are read with the least work.
    """

    @property
    def shape(self) -> Shape4:
        """(C, I, J, K)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what `read` gives."""
        ...

    @property
    def chunks(self) -> Shape3:
        """Voxels (i, j, k) of a chunk."""
        ...

    def read(self, region: Region) -> NDArray[Any]:
        """The voxels (C, i, j, k) of a region inside the shape; raises `InputError` where a file cannot be read."""
        ...


@dataclass(frozen=True, eq=False)
class Held:
    """Voxels in memory: `array` (C, I, J, K)."""

    array: NDArray[Any]

    @property
    def shape(self) -> Shape4:
        """(C, I, J, K)."""
        c, i, j, k = self.array.shape
        return c, i, j, k

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        return self.array.dtype

    @property
    def chunks(self) -> Shape3:
        """All of it."""
        return self.shape[1:]

    @property
    def nbytes(self) -> int:
        """Of the array."""
        return int(self.array.nbytes)

    def read(self, region: Region) -> NDArray[Any]:
        """A view of a region."""
        return self.array[(slice(None), *region)]


class Counted(Protocol):
    """What is counted of blocks while they are computed, such as how sure a network is of them: of those given so far.

    `omlab_volume.inference.tally` has one.
    """

    def state(self) -> Mapping[str, Any]:
        """What was counted, as JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises `KeyError`, `TypeError` or `ValueError` for another state."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What it comes to (JSON); nothing before all blocks were counted."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Computed:
    """Voxels that are computed block by block, in an order of their own, when they are asked for.

    Who writes them takes the blocks as they come and holds one at a time; who was stopped goes on with the first block
    that is not written. Computed twice, a block is the same.

    Attributes:
        shape: (C, I, J, K).
        dtype: Of the blocks.
        chunks: (i, j, k) in which they are best stored: blocks begin at multiples of it where that can be.
        regions: The blocks' places; together all voxels. Where two overlap the later one counts.
        compute: Number of a block -> that block (C, i, j, k) and all after it.
        counted: What is counted meanwhile.
    """

    shape: Shape4
    dtype: np.dtype[Any]
    chunks: Shape3
    regions: Sequence[Region]
    compute: Callable[[int], Iterator[NDArray[Any]]]
    counted: Counted | None = None

    def read(self, region: Region) -> NDArray[Any]:
        """A region, for which every block from the first to the last that touches it is computed."""
        touching = [number for number, place in enumerate(self.regions) if shared(region, place) is not None]
        result = np.zeros((self.shape[0], *size_of(region)), self.dtype)
        if not touching:
            return result
        numbers = range(touching[0], touching[-1] + 1)
        for number, block in zip(numbers, self.compute(touching[0]), strict=False):
            common = shared(region, self.regions[number])
            if common is not None:
                inside = within(common, self.regions[number])
                result[(slice(None), *within(common, region))] = block[(slice(None), *inside)]
        return result


def size_of(region: Region) -> Shape3:
    """Voxels of a region along i, j, k."""
    i, j, k = (part.stop - part.start for part in region)
    return i, j, k


def shared(first: Region, second: Region) -> Region | None:
    """What two regions have in common; None where that is nothing."""
    i, j, k = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return (i, j, k) if all(part.start < part.stop for part in (i, j, k)) else None


def within(region: Region, frame: Region) -> Region:
    """A region counted from the first voxel of another that holds it."""
    i, j, k = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(region, frame, strict=True))
    return i, j, k


def whole(shape: Sequence[int]) -> Region:
    """The region of all voxels of (..., I, J, K)."""
    i, j, k = (slice(0, int(n)) for n in shape[-3:])
    return i, j, k


def tiles(shape: Sequence[int], size: Sequence[int]) -> list[Region]:
    """Regions of `size` that cover (I, J, K), the last ones cut at the border; i is fastest, k slowest."""
    along = [[slice(at, min(at + step, n)) for at in range(0, n, step)] for n, step in zip(shape, size, strict=True)]
    return [(i, j, k) for k in along[2] for j in along[1] for i in along[0]]


def checked(region: Sequence[slice], *, shape: Sequence[int]) -> Region:
    """A region with its bounds written out. Raises `InputError` where it leaves (I, J, K), is empty or has steps."""
    if len(region) != 3 or not all(isinstance(part, slice) for part in region):
        raise InputError(f"A region is three slices (i, j, k), not {region!r}.")
    bounds = [(part.start or 0, n if part.stop is None else part.stop) for part, n in zip(region, shape, strict=True)]
    for (start, stop), part, n in zip(bounds, region, shape, strict=True):
        if part.step not in (None, 1) or not 0 <= start < stop <= n:
            raise InputError(f"The region {start}:{stop} does not lie within 0:{n}, or is taken in steps.")
    i, j, k = (slice(int(start), int(stop)) for start, stop in bounds)
    return i, j, k
