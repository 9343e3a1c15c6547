"""Bounding boxes of the classes of a label map, all in one pass over its voxels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

Box = tuple[slice, slice, slice]

_HIGHEST = 1 << 16  # values are looked up in a table as long as the highest


def boxes(array: NDArray[Any], values: Iterable[int]) -> dict[int, Box]:
    """The smallest box around the voxels of each of `values` in `array` (I, J, K), where it has any."""
    wanted = {value for value in values if 0 < value < _HIGHEST}
    # As it lies in memory: the pass is several times as fast.
    turned = array.strides[0] < array.strides[-1]
    found = ndimage.find_objects(array.T if turned else array, max_label=max(wanted, default=0)) if wanted else []
    result = {value: found[value - 1] for value in wanted if found[value - 1] is not None}
    if turned:
        result = {value: box[::-1] for value, box in result.items()}
    whole = (slice(None),) * 3
    return result | {value: whole for value in values if value not in wanted}


def joined(one: Box | None, other: Box | None) -> Box:
    """The smallest box around both; an empty one where there is neither."""
    there = [box for box in (one, other) if box is not None]
    if not there:
        return (slice(0),) * 3
    if any(part.stop is None for box in there for part in box):
        return (slice(None),) * 3
    i, j, k = (slice(min(p.start for p in parts), max(p.stop for p in parts)) for parts in zip(*there, strict=True))
    return i, j, k
