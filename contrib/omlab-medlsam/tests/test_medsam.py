"""MedSAM: what the network is shown, and that volumes keep their geometry whatever their storage."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from omlab_image.image import Image
from omlab_medlsam.boxed import BoxSegmenter
from omlab_medlsam.medsam import TINY, segment_image, segment_volume
from omlab_prompts.prompts import Box, Object, Prompts
from omlab_sam.network import VARIANTS, Sam
from omlab_volume.volume import Volume


class Fills(BoxSegmenter):
    """A segmenter that takes all of a box and remembers what it was shown."""

    shown: list[Any] = []  # noqa: RUF012  # of one test alone

    def encode(self, pixels: Any) -> Tensor:
        self.shown.append(pixels)
        return torch.zeros(1)

    def probabilities(self, embedding: Tensor, boxes: Any, *, shape: tuple[int, int]) -> Tensor:
        y, x = np.indices(shape)
        inside = [(x >= b[0]) & (x <= b[2]) & (y >= b[1]) & (y <= b[3]) for b in boxes]
        return torch.from_numpy(np.stack(inside)).float()


def _sam() -> Sam:
    return Sam(**TINY).eval()


def test_the_published_size_is_that_of_its_card() -> None:
    with torch.device("meta"):
        sam = Sam(**VARIANTS["vit_b"], image_size=1024)
    assert sum(parameter.numel() for parameter in sam.parameters()) == 93_735_472


def test_pictures_are_brought_to_the_unit_interval_or_sams_scale() -> None:
    pixels = np.random.default_rng(0).integers(20, 200, size=(40, 60, 3)).astype(np.uint8)
    square = BoxSegmenter(sam=_sam()).square(pixels)
    assert square.shape == (1, 3, 128, 128)
    assert (float(square.min()), float(square.max())) == (0, 1)
    legacy = BoxSegmenter(sam=_sam(), legacy=True).square(np.full((40, 60), 124, np.uint8))
    torch.testing.assert_close(
        legacy[0, :, 5, 5], torch.tensor([0.325, 7.72, 20.47]) / torch.tensor([58.395, 57.12, 57.375])
    )


@pytest.mark.parametrize("axes", [*permutations(range(3))])
def test_boxes_in_volumes_become_masks_where_they_are(axes: tuple[int, ...]) -> None:
    Fills.shown = []
    shape = (12, 14, 10)
    order = np.eye(4)[[*axes, 3]]
    affine = np.diag([1.0, -1.5, 3.0, 1.0]) @ order.T
    stored = tuple(np.array(shape)[list(axes)])
    volume = Volume(array=np.zeros((1, *stored), np.float32), affine=affine, intensity="hu")
    box = Box(near=(2, 3, 4), far=(5, 7, 8))
    prompts = Prompts(space="voxel", image="ct", objects=(Object(name="a", boxes=(box,)),))
    found = segment_volume(Fills(sam=_sam()), volume, prompts)
    assert found.same_grid(volume)
    voxels = np.argwhere(found.array == 1)
    assert [voxels.min(0).tolist(), voxels.max(0).tolist()] == [[2, 3, 4], [5, 7, 8]]
    across = axes.index(2)
    assert len(Fills.shown) == box.far[across] - box.near[across] + 1  # each slice once


def test_the_surest_of_several_objects_has_a_pixel() -> None:
    Fills.shown = []
    image = Image(array=np.zeros((20, 30), np.uint8))
    boxes = [Box(near=(2, 3), far=(8, 9)), Box(near=(6, 7), far=(12, 12))]
    objects = tuple(Object(name=f"{n}", boxes=(box,)) for n, box in enumerate(boxes))
    found = segment_image(Fills(sam=_sam()), image, Prompts(space="pixel", image="x", objects=objects))
    assert found.array[3, 2] == 1
    assert found.array[12, 12] == 2
    assert found.array[8, 7] == 1  # both are as sure: the first
    assert len(Fills.shown) == 1
