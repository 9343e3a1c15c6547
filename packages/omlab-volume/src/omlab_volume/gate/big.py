"""The gate of the kind `big-volume`: what is doubtful about an image that does not fit in memory.

A card's `[model.does.VERB.expects.volume]`, every entry of which may be left out:

    channels = 1                   # how many the network takes
    bits = 16                      # of the training images' whole numbers
    bright = true                  # what is looked for is brighter than what is around it
    spacing = [[a, b], ...]        # mm, least and most along z, y, x
    extent = [[a, b], ...]         # mm, of the image

Looked at are blocks in a grid of places, some slices deep: a few million voxels of whatever size. Of every image:
whether these show anything, are overexposed or not finite, and whether slices in them are repeated or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_volume.big.payloads import BigVolume
from omlab_volume.gate.volume import outside
from omlab_volume.orientation import canonical_grid

PLACES = 3
"""Along each axis."""
SIDE = 48
"""Voxels of a block, along each axis."""
FEW_SLICES = 4
"""Slices of a block where each is stored by itself, and reading one takes a file."""
OVEREXPOSED = 0.005
"""Share of the voxels at the largest number that can be stored."""
DARK = -0.5
"""Skewness of values below which a block shows dark things on a bright ground."""

Block = NDArray[Any]


def check(volume: BigVolume, expected: Mapping[str, Any]) -> dict[str, Any]:
    """`doubts` about a big volume, each a sentence that names it, and the values that they rest on (JSON)."""
    if volume.dtype.kind not in "fiub" or 0 in volume.grid.shape:
        return {"doubts": []}
    blocks = looked_at(volume)
    values = np.concatenate([block.reshape(-1) for block in blocks])
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    spacing, extent = _sizes(volume)
    found: dict[str, Any] = {
        "blocks": len(blocks),
        "looked_at": round(values.size / float(np.prod(volume.grid.shape, dtype=np.float64)), 6),
        "spacing": [round(step, 6) for step in spacing],
        "extent": [round(size, 3) for size in extent],
    }
    doubts = _about_form(volume, finite, expected)
    doubts += outside("voxel size", spacing, expected.get("spacing"))
    doubts += outside("field of view", extent, expected.get("extent"))
    if finite.size < values.size:
        doubts.append(f"{1 - finite.size / values.size:.1%} of the voxels looked at are not finite.")
    shown = [block for block in map(_without_odd, blocks) if block.min() < block.max()]
    found["blocks_that_show_something"] = len(shown)
    if not shown:
        doubts.append(f"It shows nothing in the {len(blocks)} places that were looked at.")
    else:
        levels = zip(("low", "middle", "high"), np.percentile(finite, [1, 50, 99]), strict=True)
        found["levels"] = {name: round(float(value), 4) for name, value in levels}
        skew = float(np.median([_skewness(block) for block in shown]))
        found["skewness"] = round(skew, 3)
        if expected.get("bright") and skew < DARK:
            doubts.append("It shows dark things on a bright ground: is it inverted?")
        doubts += _about_slices(shown)
    name = volume.source.name if volume.source is not None and volume.source.name else "The volume"
    return {"doubts": [f"{name}: {doubt}" for doubt in doubts], **found}


def looked_at(volume: BigVolume) -> list[Block]:
    """Blocks (i, j, k) of the first channel around places in a grid, whole chunks read as seldom as can be."""
    shape, chunks = volume.grid.shape, volume.chunks
    by_slice = chunks[2] == 1
    i, j = ([slice(at, at + min(SIDE, n)) for at in _starts(n, SIDE)] for n in shape[:2])
    deep = FEW_SLICES if by_slice else SIDE
    whole_planes = by_slice and chunks[0] >= shape[0] and chunks[1] >= shape[1]
    blocks = []
    for first in _starts(shape[2], deep):
        k = slice(first, first + min(deep, shape[2]))
        if whole_planes:  # one reading of each slice for all of its blocks
            planes = volume.read((slice(0, shape[0]), slice(0, shape[1]), k))[0]
            blocks += [np.array(planes[along_i, along_j]) for along_i in i for along_j in j]
        else:
            blocks += [np.array(volume.read((along_i, along_j, k))[0]) for along_i in i for along_j in j]
    return blocks


def _starts(length: int, side: int) -> list[int]:
    """First voxels of blocks in the middle of equal parts of an axis; fewer where they would overlap."""
    places = max(1, min(PLACES, length // side))
    return [max(0, round((n + 0.5) * length / places - side / 2)) for n in range(places)]


def _sizes(volume: BigVolume) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Voxel size and extent along z, y, x in mm."""
    grid = canonical_grid(volume.grid)
    spacing = tuple(float(step) for step in reversed(grid.spacing))
    return spacing, tuple(n * step for n, step in zip(reversed(grid.shape), spacing, strict=True))


def _about_form(volume: BigVolume, values: NDArray[Any], expected: Mapping[str, Any]) -> list[str]:
    doubts = []
    channels = expected.get("channels")
    if channels and volume.channels != channels:
        doubts.append(f"It has {volume.channels} channels, the training images had {channels}.")
    if volume.dtype.kind not in "iu" or not values.size:
        return doubts
    largest = np.iinfo(volume.dtype).max
    if expected.get("bits", 0) > 8 and values.max() <= 255:
        doubts.append(f"Its numbers have 8 bits, those of the training images {expected['bits']}: contrast was lost.")
    full = float((values == largest).mean())
    if full > OVEREXPOSED:
        doubts.append(f"{full:.1%} of the voxels looked at have the largest value {largest}: it is overexposed.")
    return doubts


def _without_odd(block: Block) -> Block:
    return np.nan_to_num(block, posinf=0, neginf=0) if block.dtype.kind == "f" else block


def _skewness(block: Block) -> float:
    values = block.astype(np.float64)
    values -= values.mean()
    return float((values**3).mean() / (values**2).mean() ** 1.5)


def _about_slices(blocks: list[Block]) -> list[str]:
    """A doubt about slices, along k, that are repeated or empty between others."""
    repeated = empty = 0
    for block in blocks:
        planes = block.reshape(-1, block.shape[2]).T
        used = np.flatnonzero(planes.min(axis=1) < planes.max(axis=1))
        empty += int(used[-1] - used[0] + 1 - used.size)
        repeated += sum(bool((planes[at] == planes[at + 1]).all()) for at in used if at + 1 < len(planes))
    doubts = []
    if repeated:
        doubts.append(f"Some slices are the same as the ones before ({repeated} of those looked at): repeated?")
    if empty:
        doubts.append(f"Some slices between others show nothing ({empty} of those looked at): lost, or filled in.")
    return doubts
