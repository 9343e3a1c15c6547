"""The example prompts and motions that the test kit moves models with."""

from __future__ import annotations

import numpy as np
import pytest

from omlab_volume.testing import VolumePrompts, example_labelmaps, example_volumes, odd_volumes

PAIRS = list(zip(example_volumes(), example_labelmaps(), strict=True))


@pytest.mark.parametrize("number", range(3))
def test_prompts_lie_in_their_objects(number: int) -> None:
    volume, labels = PAIRS[number]
    voxels = VolumePrompts().prompts(volume, labels, space="voxel")
    for value, entry in enumerate(voxels.objects, start=1):
        assert labels.array[tuple(int(n) for n in entry.points[0].at)] == value
        box = tuple(slice(int(a), int(b) + 1) for a, b in zip(entry.boxes[0].near, entry.boxes[0].far, strict=True))
        assert (labels.array[box] == value).sum() == (labels.array == value).sum()
    world = VolumePrompts().prompts(volume, labels, space="ras")
    back = world.in_voxels(volume.affine.tolist(), shape=volume.grid.shape, image="example")
    found = [entry.points[0].at for entry in back.objects]
    np.testing.assert_allclose(found, [entry.points[0].at for entry in voxels.objects], atol=1e-9)


def test_odd_volumes_can_be_pointed_at() -> None:
    for volume in odd_volumes().values():
        prompts = VolumePrompts().prompts(volume, None, space="ras")
        prompts.in_voxels(volume.affine.tolist(), shape=volume.grid.shape, image="example")


@pytest.mark.parametrize("number", range(3))
def test_what_is_moved_shows_the_same_where_its_prompts_are(number: int) -> None:
    maker = VolumePrompts()
    for motion in maker.motions(*PAIRS[number]).values():
        moved = motion.prediction(motion.target)
        assert moved.same_grid(motion.moved)
        for space in ("voxel", "ras"):
            prompts = motion.prompts(maker.prompts(motion.payload, motion.target, space=space))
            found = prompts.in_voxels(motion.moved.affine.tolist(), shape=motion.moved.grid.shape, image="example")
            for value, entry in enumerate(found.objects, start=1):
                at = tuple(round(n) for n in entry.points[0].at)
                assert moved.array[at] == value
        here = motion.payload.array[0][motion.target.array > 0]
        there = motion.moved.array[0][moved.array > 0]
        assert np.array_equal(np.sort(here), np.sort(there))


def test_boxes_agree_where_the_axes_are_the_worlds() -> None:
    assert [VolumePrompts().boxes_agree(volume) for volume, _ in PAIRS] == [True, True, False]
