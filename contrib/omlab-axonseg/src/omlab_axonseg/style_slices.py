"""The coronal slices that style transfer takes of a brain."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch.nn import functional

from omlab.errors import InputError
from omlab_axonseg.region_slices import as_atlas, scaled
from omlab_axonseg.style_networks import StyleConfig
from omlab_volume.volume import Volume

CORONAL = 2
"""The axis of (dorsoventral, left-right, front-back) that coronal slices are counted along."""


def checked_brain(volume: Volume) -> NDArray[Any]:
    """The voxels (D, L, F) of a volume, as the atlas counts. Raises `InputError` for what cannot be converted."""
    name = volume.name or "The volume"
    if volume.channels != 1:
        raise InputError(f"{name} has {volume.channels} channels: style transfer takes one.")
    if not volume.is_finite():
        raise InputError(f"{name} has voxels that are not finite: repair it first.")
    return as_atlas(volume.array[0], volume.grid)


def prepared(slices: torch.Tensor, config: StyleConfig) -> torch.Tensor:
    """Slices (B, 1, H, W) at the network's size, from 0 to 1 each."""
    return scaled(functional.interpolate(slices, size=config.sizes, mode="bilinear", align_corners=False))
