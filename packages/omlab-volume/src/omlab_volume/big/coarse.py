"""A big volume made small enough to look at: every n-th voxel, from the pyramid where there is one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omlab_volume.big.voxels import Region, Shape3, Voxels, size_of, tiles

if TYPE_CHECKING:
    from omlab_volume.big.payloads import BigVolume

_READ_AT_ONCE = 1 << 26  # voxels


def factor_for(shape: Sequence[int], *, most: int) -> int:
    """The least n for which every n-th voxel leaves at most `most` along each axis."""
    return max(1, *(-(-size // most) for size in shape[-3:]))


def every(
    factor: int, voxels: Voxels, levels: Sequence[Voxels], *, affine: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels (C, i, j, k) in the middle of each block of `factor` voxels, and the affine of those.

    Read from the coarsest level that is fine enough, whose nearest voxel is taken.
    """
    places = [np.minimum(np.arange(0, size, factor) + factor // 2, size - 1) for size in voxels.shape[1:]]
    fine_enough = [level for level in levels if _coarseness(level, voxels) <= factor]
    source = min([voxels, *fine_enough], key=lambda level: level.shape[1] * level.shape[2] * level.shape[3])
    nearest = [
        np.minimum((at + 0.5) * there // here, there - 1).astype(int)
        for at, here, there in zip(places, voxels.shape[1:], source.shape[1:], strict=True)
    ]
    step = np.diag([factor, factor, factor, 1.0])
    step[:3, 3] = [min(factor // 2, size - 1) for size in voxels.shape[1:]]
    return _picked(source, nearest), affine @ step


def _coarseness(level: Voxels, voxels: Voxels) -> float:
    return max(there / here for there, here in zip(voxels.shape[1:], level.shape[1:], strict=True))


def _picked(voxels: Voxels, places: Sequence[NDArray[np.int_]]) -> NDArray[Any]:
    """The voxels at the crossings of `places`, read by pieces of some chunks."""
    result = np.zeros((voxels.shape[0], *(len(at) for at in places)), voxels.dtype)
    for region in tiles(voxels.shape[1:], _piece(voxels)):
        found = [np.flatnonzero((at >= part.start) & (at < part.stop)) for at, part in zip(places, region, strict=True)]
        if not all(len(one) for one in found):
            continue
        inside = [at[one] for at, one in zip(places, found, strict=True)]
        tight = _around(inside)
        here = np.ix_(*(at - part.start for at, part in zip(inside, tight, strict=True)))
        goal = np.ix_(*found)
        for channel, values in enumerate(voxels.read(tight)):
            result[channel][goal] = values[here]
    return result


def _around(places: Sequence[NDArray[np.int_]]) -> Region:
    i, j, k = (slice(int(at[0]), int(at[-1]) + 1) for at in places)
    return i, j, k


def _piece(voxels: Voxels) -> Shape3:
    """Whole chunks, as many along i, then j, then k as are read at once."""
    size = list(voxels.chunks)
    for axis, most in enumerate(voxels.shape[1:]):
        others = size_of((slice(0, size[0]), slice(0, size[1]), slice(0, size[2])))
        room = _READ_AT_ONCE // max(1, voxels.shape[0] * others[0] * others[1] * others[2])
        size[axis] = min(most, size[axis] * max(1, room))
    return size[0], size[1], size[2]


def thumbnail(volume: BigVolume, *, size: int) -> bytes:
    """A PNG of the middle slice across k, grey between the 1st and 99th percentile."""
    from PIL import Image

    coarse = volume.coarse(most=max(size, 2))
    plane = np.asarray(coarse.array[0, :, :, coarse.array.shape[3] // 2], np.float32).T
    plane = np.nan_to_num(plane, posinf=0, neginf=0)
    low, high = np.percentile(plane, [1, 99])
    grey = np.clip((plane - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    width, height = (n * step for n, step in zip(coarse.array.shape[1:3], coarse.grid.spacing, strict=False))
    scale = size / max(width, height)
    picture = Image.fromarray(grey).resize((max(1, round(width * scale)), max(1, round(height * scale))))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
