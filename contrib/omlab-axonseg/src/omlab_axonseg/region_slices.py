"""A brain slice by slice through the region network: each view's probabilities, on the brain's own voxels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from omlab import progress
from omlab_axonseg.region_network import ATLAS, VIEWS, RegionNet
from omlab_volume.big.payloads import BigLabelMap, BigVolume
from omlab_volume.big.voxels import Computed, tiles
from omlab_volume.geometry import Grid
from omlab_volume.orientation import canonical_array, reorient_labels
from omlab_volume.volume import LabelMap

_AXES = (2, 0, 1)
"""Dorsoventral, left-right, front-back among the closest axes Right, Anterior, Superior."""
BLOCK = 128
"""Voxels a side that an enlarged label map is written by."""
Array = NDArray[Any]


def as_atlas(array: Array, grid: Grid, *, begin: str = ATLAS) -> Array:
    """A view (D, L, F) whose axes begin at the sides `begin` (`RegionConfig`)."""
    return canonical_array(array, grid).transpose(_AXES)[_steps(begin)]


def from_atlas(array: Array, grid: Grid, *, begin: str = ATLAS) -> Array:
    """The reverse of `as_atlas`; contiguous."""
    return reorient_labels(array[_steps(begin)].transpose(np.argsort(_AXES)), grid)


def _steps(begin: str) -> tuple[slice, ...]:
    """Along axes that count from below, from the left and from the back: turned round where they begin elsewhere."""
    return tuple(slice(None, None, 1 if side == first else -1) for side, first in zip(begin, "ILP", strict=True))


def scaled(slices: Tensor) -> Tensor:
    """Slices (B, 1, H, W) from 0 to 1 each; one of a single value becomes 0."""
    low, high = slices.amin((2, 3), keepdim=True), slices.amax((2, 3), keepdim=True)
    return (slices - low) / torch.where(high > low, high - low, torch.ones_like(high))


def probabilities(network: RegionNet, brain: Array, *, batch_size: int, device: str | torch.device) -> Array:
    """The mean of the views' probabilities, (K, D, L, F) float32, of a brain (D, L, F).

    Each slice is brought to the network's size by lines between pixels and its probabilities back again; upstream
    resizes the masks instead, and leaves the views apart.
    """
    views = network.config.views
    out = np.zeros((network.config.num_classes, *brain.shape), np.float32)
    with torch.inference_mode(), progress.bar("slices", total=sum(brain.shape[VIEWS[view]] for view in views)) as step:
        for view in views:
            size = network.config.slice_size(view)
            slices, goal = np.moveaxis(brain, VIEWS[view], 0), np.moveaxis(out, VIEWS[view] + 1, 0)
            for first in range(0, len(slices), batch_size):
                part = torch.from_numpy(np.array(slices[first : first + batch_size], np.float32, order="C"))[:, None]
                resized = functional.interpolate(part.to(device), size=size, mode="bilinear", align_corners=False)
                share = network(scaled(resized), view=view).sigmoid()
                own = functional.interpolate(share, size=part.shape[2:], mode="bilinear", align_corners=False)
                goal[first : first + len(part)] += own.cpu().numpy() / len(views)
                step(len(part))
    return out


def decided(share: Array, *, least: float) -> NDArray[np.uint8]:
    """Numbers 1, 2, ... of regions whose probability (K, ...) is `least` or more, later ones over earlier ones."""
    found = np.zeros(share.shape[1:], np.min_scalar_type(len(share)))
    for number, one in enumerate(share, start=1):
        found[one >= least] = number
    return found


def enlarged(coarse: LabelMap, volume: BigVolume, *, factor: int) -> BigLabelMap:
    """A label map of every `factor`-th voxel of a big volume on its grid: each voxel has the value of its block."""
    shape = volume.grid.shape
    regions = tiles(shape, [min(BLOCK, n) for n in shape])

    def blocks(first: int) -> Iterator[Array]:
        for region in regions[first:]:
            i, j, k = (np.arange(part.start, part.stop) // factor for part in region)
            yield coarse.array[np.ix_(i, j, k)][None]

    computed = Computed(
        shape=(1, *shape),
        dtype=coarse.array.dtype,
        chunks=(BLOCK, BLOCK, BLOCK),
        regions=regions,
        compute=blocks,
    )
    labels = tuple(coarse.labels)
    return BigLabelMap(
        voxels=computed, affine=volume.affine, labels=labels, source=volume.source, facts=dict(coarse.facts)
    )
