"""The motions that the test kit moves models with."""

from __future__ import annotations

import numpy as np
import pytest

from omlab_volume.testing import VolumeMotions, example_labelmaps, example_volumes

PAIRS = list(zip(example_volumes(), example_labelmaps(), strict=True))


@pytest.mark.parametrize("number", range(3))
def test_what_is_moved_shows_the_same_where_the_matrices_say(number: int) -> None:
    for motion in VolumeMotions().motions(*PAIRS[number]).values():
        moved = motion.result(motion.target)
        assert moved.same_grid(motion.moved)
        for value in (1, 2):
            voxel = np.append(np.argwhere(motion.target.array == value)[0], 1.0)
            there = motion.voxels @ voxel
            assert moved.array[tuple(np.rint(there[:3]).astype(int))] == value
            world = motion.world @ motion.payload.affine @ voxel
            np.testing.assert_allclose(motion.moved.affine @ there, world, atol=1e-9)
        here = motion.payload.array[0][motion.target.array > 0]
        there = motion.moved.array[0][moved.array > 0]
        assert np.array_equal(np.sort(here), np.sort(there))


def test_boxes_agree_where_the_axes_are_the_worlds() -> None:
    assert [VolumeMotions().boxes_agree(volume) for volume, _ in PAIRS] == [True, True, False]
