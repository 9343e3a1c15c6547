"""Pictures of what recipes without labels show networks for volumes. Nothing here needs weights."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

import omlab
from omlab_volume.labels import default_colour
from tools.pictures.drawing import beside, of_array
from tools.pictures.images import SHARED
from tools.pictures.volumes import case

HEAD = SHARED / "mr-brain-nifti" / "icbm152_t1.nii.gz"
SIDE = 300
LINE = 3  # pixels of a frame
NEAR = 5  # voxels
WAYS = (("down", "up"), ("back", "forward"), ("to the right", "to the left"))

Made = tuple[Image.Image, str]


def fused_patches(folder: Path) -> Made:
    """MIS-FM's Volume Fusion: blocks of one patch are mixed into another."""
    from omlab_kernels import volume_fusion
    from omlab_misfm.fusion import CLASSES, draw_blocks
    from omlab_misfm.patches import two_patches

    volume: Any = omlab.read(HEAD)
    size, draws = (64, 128, 128), random.Random(2)  # noqa: S311 - repeatable, not secret
    first, second = two_patches(volume.array.astype(np.float32).transpose(0, 3, 2, 1), draws, size=size)
    blocks = draw_blocks(size, draws, smallest=(5, 8, 8), largest=(20, 32, 32))
    one, other = (torch.from_numpy(np.ascontiguousarray(patch)) for patch in (first, second))
    mixed, weights = volume_fusion(
        one, other, blocks.classes, block=blocks.block, offset=blocks.offset, count=CLASSES - 1
    )
    middle = size[0] // 2
    panels = [of_array(np.asarray(patch[0, middle]), side=SIDE) for patch in (second, first, mixed)]
    told = of_array(np.asarray(weights[middle], np.float32) / (CLASSES - 1), side=SIDE)
    names = ("a patch", "another of the same scan", "fused: what the network sees", "the weights: what it is to tell")
    return beside(*panels, told, names=names), (
        "What the recipe volume-fusion shows the network: a patch with blocks of another mixed in, and the weights of "
        "0, 1/4, 2/4, 3/4 or 1 that it is to tell, white being 1. Slices of an averaged MR of 152 heads; no answer of "
        "a network is shown"
    )


def two_crops(folder: Path) -> Made:
    """MedLAM's relative distance: two crops of a volume, and one of them deformed."""
    from omlab_medlsam.crops import draw_crop
    from omlab_medlsam.space import SPACING
    from omlab_medlsam.working import working_copy

    image = working_copy(case(folder).inputs["volume"]).image
    patch, draws = (32, 32, 32), np.random.default_rng(0)
    crops: list[Any] = []
    middle = image.shape[1] // 2
    while len(crops) < 2:  # two that lie in the slice that is shown
        crop = draw_crop(image, draws, patch=patch)
        inside = (crop.start >= 0).all() and (crop.start + patch <= image.shape).all()
        if inside and abs(crop.start[1] + patch[1] // 2 - middle) < NEAR:
            crops.append(crop)
    scale = SIDE / image.shape[0]
    whole = _coronal(image, middle)
    brush, centres = ImageDraw.Draw(whole), []
    for number, crop in enumerate(crops):
        z, _, x = crop.start
        left, right = x * scale, (x + patch[2]) * scale
        top, bottom = SIDE - (z + patch[0]) * scale, SIDE - z * scale
        brush.rectangle((left, top, right, bottom), outline=_colour(number), width=LINE)
        centres.append(((left + right) / 2, (top + bottom) / 2))
    brush.line(centres, fill="white", width=2)
    apart = SPACING * (crops[1].start - crops[0].start)
    told = ", ".join(f"{abs(mm):.0f} mm {way[int(mm > 0)]}" for mm, way in zip(apart, WAYS, strict=True))
    panels = [whole]
    for number, crop in enumerate(crops):
        for part in (crop.original, crop.deformed):
            panels.append(_framed(_coronal(part, patch[1] // 2), _colour(number)))
    names = ("two crops of a drawn phantom", "one", "deformed", "the other", "deformed")
    return beside(*panels, names=names, height=SIDE), (
        f"What the recipe relative-distance shows the network: two crops of one scan. It is to tell how far the second "
        f"lies from the first (here {told}), and to find points of each in its deformed form. Slices of a drawn "
        "phantom and through the middles of its crops; no answer of a network is shown"
    )


def _coronal(image: np.ndarray, place: int) -> Image.Image:
    """A slice of an image (Z, Y, X), the head up."""
    return of_array(image[::-1, place], side=SIDE)


def _colour(number: int) -> tuple[int, ...]:
    return tuple(default_colour(number + 1)[:3])


def _framed(panel: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    ImageDraw.Draw(panel).rectangle((0, 0, panel.width - 1, panel.height - 1), outline=colour, width=LINE)
    return panel
