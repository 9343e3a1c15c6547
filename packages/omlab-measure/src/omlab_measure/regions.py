"""The structures of a label map, each in the box around it: what costs grows with structures, not with the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects  # type: ignore[import-untyped]

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class Region:
    """One structure.

    Attributes:
        value: Of the label.
        box: Where `mask` lies in the image.
        mask: The structure's voxels in the smallest box around it.
        touches_edge: Whether it reaches the image's edge, so that it may go on beyond.
    """

    value: int
    box: tuple[slice, slice, slice]
    mask: Mask
    touches_edge: bool

    @property
    def corner(self) -> NDArray[np.float64]:
        """The voxel of the image (3,) that is the box's first."""
        return np.array([part.start for part in self.box], dtype=np.float64)


def regions(array: NDArray[Any]) -> Iterator[Region]:
    """The structures of a label map's `array` (I, J, K) that have voxels, by value; one at a time in memory.

    Quickest where the last axis is contiguous.
    """
    for value, box in enumerate(find_objects(array), start=1):
        if box is not None:
            touches = any(part.start == 0 or part.stop == size for part, size in zip(box, array.shape, strict=True))
            yield Region(value=value, box=box, mask=array[box] == value, touches_edge=touches)


def inner_voxels(mask: Mask) -> Mask:
    """The voxels of a mask whose six neighbours are all in it."""
    inner = mask.copy(order="K")
    for axis in range(3):
        ahead, behind = inner.swapaxes(0, axis), mask.swapaxes(0, axis)
        ahead[1:] &= behind[:-1]
        ahead[:-1] &= behind[1:]
        ahead[0] = False
        ahead[-1] = False
    return inner


def outer_count(mask: Mask) -> int:
    """How many voxels outside a mask have one of their six neighbours in it; also those beyond the array."""
    grown = np.pad(mask, 1)
    for axis in range(3):
        for step in (0, 2):
            place = tuple(slice(step, step + n) if a == axis else slice(1, -1) for a, n in enumerate(mask.shape))
            grown[place] |= mask
    return int(np.count_nonzero(grown)) - int(np.count_nonzero(mask))
