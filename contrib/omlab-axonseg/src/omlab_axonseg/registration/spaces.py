"""From a volume to the maps that the cascade takes, and from its grids to a displacement in mm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from omlab_axonseg.registration.cascade import Step
from omlab_volume.orientation import canonical_array, canonical_grid
from omlab_volume.volume import Grid, LabelMap, Volume

Sizes = tuple[int, int, int]
_AXES = (2, 0, 1)
"""The network's axes (dorsoventral, left-right, front-back) among the closest axes Right, Anterior, Superior."""


def image_map(volume: Volume, *, sizes: Sequence[int]) -> Tensor:
    """The first channel as the network sees it: (1, 1, *sizes), its minimum 0 and its maximum 1."""
    image = _turned(canonical_array(volume.array[0], volume.grid)).astype(np.float32)
    image -= image.min()
    top = float(image.max())
    return _resized(image / top if top > 0 else image, sizes=sizes)


def region_maps(labels: LabelMap | None, names: Sequence[str], *, sizes: Sequence[int]) -> dict[str, Tensor]:
    """For each name the mask (1, 1, *sizes), 0 or 1, of the class of that name; empty where it is not there."""
    maps = {name: torch.zeros(1, 1, *sizes) for name in names}
    if labels is None:
        return maps
    array = _turned(canonical_array(labels.array, labels.grid))
    values = {name: value for value, name in labels.present().items()}
    for name in names:
        if name in values:
            mask = (array == values[name]).astype(np.float32)
            maps[name] = (_resized(mask, sizes=sizes) > 0.5).float()
    return maps


def composed(steps: Sequence[Step]) -> Tensor:
    """Where in the first moving volume each voxel of the last registered one comes from, (B, D, H, W, 3), clipped."""
    places = steps[-1].grid.clamp(-1, 1)
    for step in reversed(steps[:-1]):
        earlier = step.grid.movedim(-1, 1)
        places = functional.grid_sample(earlier, places, align_corners=True).movedim(1, -1).clamp(-1, 1)
    return places


def displacement(places: Tensor, *, fixed: Grid, moving: Grid) -> NDArray[np.float32]:
    """A displacement (3, I, J, K) in mm (RAS+) on the fixed grid, of places (1, D, H, W, 3) between resized volumes.

    Both volumes were stretched to the network's sizes with their borders (not their outermost voxel centres) kept.
    """
    sizes = np.array(places.shape[1:4], np.float64)
    here, there = canonical_grid(fixed), canonical_grid(moving)
    own = np.array(here.shape)[list(_AXES)]
    field = functional.interpolate(
        places.movedim(-1, 1).float().cpu(), size=tuple(int(n) for n in own), mode="trilinear", align_corners=False
    )[0].numpy()[::-1]  # x, y, z to the network's axes
    theirs = np.array(there.shape, np.float64)[list(_AXES)]
    voxels = np.empty((4, *own), np.float32)
    voxels[3] = 1
    for axis, (size, length) in enumerate(zip(sizes, theirs, strict=True)):
        at = (field[axis] + 1) / 2 * (size - 1)  # the network's voxel; grids are sampled with corners aligned
        voxels[_AXES[axis]] = (at + 0.5) * length / size - 0.5
    moved = np.tensordot(there.affine[:3].astype(np.float32), voxels, axes=1)
    moved = moved.transpose(0, *(1 + _AXES.index(axis) for axis in range(3)))  # to i, j, k of the canonical grid
    result: NDArray[np.float32] = moved - _world(here)
    back = np.stack([_back(one, fixed) for one in result])
    return np.ascontiguousarray(back, np.float32)


def _world(grid: Grid) -> NDArray[np.float32]:
    axes = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    affine = grid.affine.astype(np.float32)
    return np.stack([sum(affine[row, n] * axes[n] for n in range(3)) + affine[row, 3] for row in range(3)])


def _back(array: NDArray[Any], grid: Grid) -> NDArray[Any]:
    from omlab_volume.orientation import reorient_labels

    return reorient_labels(array, grid)


def _turned(array: NDArray[Any]) -> NDArray[Any]:
    """(I, J, K) of the closest axes as the network's (D, H, W)."""
    return array.transpose(_AXES)


def _resized(array: NDArray[Any], *, sizes: Sequence[int]) -> Tensor:
    image = torch.from_numpy(np.ascontiguousarray(array, np.float32))[None, None]
    if tuple(array.shape) == tuple(sizes):
        return image
    return functional.interpolate(image, size=tuple(sizes), mode="trilinear", align_corners=False)
