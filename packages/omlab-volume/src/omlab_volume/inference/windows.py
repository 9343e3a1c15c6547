"""Where windows lie on an image, what their voxels weigh, and the cells that their borders cut it into.

Source: nnU-Net v1 and v2 (fact sheet of STU-Net, 7).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor

Place = tuple[int, ...]  # of a window or a cell: its number along z, y and x


def window_starts(size: int, patch: int, step: float = 0.5) -> list[int]:
    """First voxels of the windows of `patch` along an axis of `size` >= `patch` voxels.

    Neighbours lie at most `step` x patch apart, evenly spread, the last one ending at the border.
    """
    if not 0 < step <= 1:
        raise ValueError(f"step must be in (0, 1], not {step}")
    if size < patch:
        raise ValueError(f"size {size} is less than the patch {patch}")
    count = math.ceil((size - patch) / (patch * step)) + 1
    if count == 1:
        return [0]
    distance = (size - patch) / (count - 1)
    return sorted({round(index * distance) for index in range(count)})  # steps below a voxel repeat windows


@lru_cache(maxsize=4)
def _importance(patch: tuple[int, ...], half: bool) -> NDArray[np.float32]:
    impulse = np.zeros(patch)
    impulse[tuple(size // 2 for size in patch)] = 1
    weights = ndimage.gaussian_filter(impulse, [size / 8 for size in patch], mode="constant", cval=0, truncate=4)
    weights /= weights.max()
    weights = (weights * 10).astype(np.float16) if half else weights.astype(np.float32)
    weights[weights == 0] = weights[weights > 0].min()
    return np.asarray(weights, np.float32)


def gaussian_importance(patch: Sequence[int], *, half: bool = False) -> Tensor:
    """Weight of each voxel of a window, float32: a Gaussian with sigma = patch / 8 around voxel patch // 2.

    Its maximum is 1, zeros are lifted to the smallest other value. With `half` it is nnU-Net v2's: scaled to
    a maximum of 10 and rounded to half precision.
    """
    return torch.from_numpy(_importance(tuple(int(size) for size in patch), half).copy())


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Where windows lie and what their voxels weigh, for networks whose numbers come of other windows than nnU-Net's.

    Attributes:
        starts: of (size, patch), both (z, y, x), the first voxels of the windows along each axis, in order. One that
            comes n times weighs n-fold, and is predicted once.
        importance: of a patch, the weight of each voxel of a window, float32 and above 0.
    """

    starts: Callable[[Sequence[int], Sequence[int]], Sequence[Sequence[int]]]
    importance: Callable[[Sequence[int]], Tensor]


class Lattice:
    """The windows over an image and the cells between neighbouring borders of them, along each axis (z, y, x).

    An image that is smaller than a window is padded to its size, half of it before and half behind.

    Args:
        image: Size of the image.
        patch: Size of a window.
        step: Distance of neighbouring windows, as a part of the window.
        tiling: Windows in place of nnU-Net's; `step` is not looked at then.

    Attributes:
        padding: As `torch.nn.functional.pad` takes it.
        size: Of the padded image.
        starts: First voxels of the windows, in order.
        repeats: How often the window of a first voxel comes.
        edges: Borders of cells, in order.
    """

    def __init__(self, image: Sequence[int], *, patch: Sequence[int], step: float, tiling: Tiling | None) -> None:
        self.image, self.patch = tuple(image), tuple(patch)
        short = [max(0, wanted - have) for wanted, have in zip(self.patch, self.image, strict=True)]
        self.before = [missing // 2 for missing in short]
        self.padding = [side for missing in reversed(short) for side in (missing // 2, missing - missing // 2)]
        self.size = [have + missing for have, missing in zip(self.image, short, strict=True)]
        if tiling is not None:
            all_starts = tiling.starts(self.size, self.patch)
        else:
            all_starts = [window_starts(n, wanted, step) for n, wanted in zip(self.size, self.patch, strict=True)]
        self.repeats = [Counter(starts) for starts in all_starts]
        self.starts = [sorted(starts) for starts in self.repeats]
        stops = [[start + size for start in starts] for starts, size in zip(self.starts, self.patch, strict=True)]
        self.edges = [sorted({*starts, *ends}) for starts, ends in zip(self.starts, stops, strict=True)]

    def part(self, axis: int, borders: Iterable[int]) -> None:
        """Cut cells along `axis` at further voxels."""
        self.edges[axis] = sorted({*self.edges[axis], *borders})

    def window(self, place: Place) -> tuple[slice, ...]:
        """Where a window lies in the padded image (C, D, H, W)."""
        corner = [starts[index] for starts, index in zip(self.starts, place, strict=True)]
        return (slice(None), *(slice(at, at + n) for at, n in zip(corner, self.patch, strict=True)))

    def times(self, place: Place) -> int:
        """How often a window comes."""
        return math.prod(self.repeats[axis][self.starts[axis][index]] for axis, index in enumerate(place))

    def spans(self, axis: int, index: int) -> list[tuple[int, slice]]:
        """The cells between borders along `axis` that window `index` covers, and where in the window they lie."""
        start = self.starts[axis][index]
        edges = self.edges[axis]
        first, last = edges.index(start), edges.index(start + self.patch[axis])
        return [(cell, slice(edges[cell] - start, edges[cell + 1] - start)) for cell in range(first, last)]

    def ending(self, axis: int, index: int) -> list[int]:
        """The cells along `axis` that no window after `index` covers."""
        covered = [cell for cell, _ in self.spans(axis, index)]
        later = self.starts[axis][index + 1] if index + 1 < len(self.starts[axis]) else self.size[axis]
        return [cell for cell in covered if self.edges[axis][cell] < later]

    def extent(self, cell: Place) -> list[int]:
        """The size of a cell."""
        return [self.edges[axis][at + 1] - self.edges[axis][at] for axis, at in enumerate(cell)]

    def unpadded(self, cell: Place) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The voxels of a cell that are the image's: where in the image, and where in the cell."""
        inside, own = [], []
        for axis, at in enumerate(cell):
            start, stop = (edge - self.before[axis] for edge in self.edges[axis][at : at + 2])
            first, last = max(start, 0), min(stop, self.image[axis])
            inside.append(slice(first, last))
            own.append(slice(first - start, last - start))
        return tuple(inside), tuple(own)
