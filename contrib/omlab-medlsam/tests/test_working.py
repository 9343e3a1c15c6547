"""Working copies: where their voxels lie, whatever the storage of the file."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy import ndimage  # type: ignore[import-untyped]

from omlab.errors import InputError, OmlabWarning
from omlab_medlsam.space import corners_of, las_to_file
from omlab_medlsam.working import space_of, working_copy, working_labels, working_shape
from omlab_volume.geometry import Grid
from omlab_volume.testing import example_volumes
from omlab_volume.volume import LabelMap, Volume

SHAPE = (20, 24, 16)
"""Along L, A and S."""


def _stored(axes: tuple[int, ...], flips: tuple[bool, ...]) -> tuple[LabelMap, np.ndarray]:
    """A box of label 1 in a file of 3 mm whose axis n is LAS axis axes[n], flipped or not; and the box along LAS."""
    las = np.zeros(SHAPE, np.uint8)
    las[3:9, 10:14, 5:12] = 1
    matrix = np.diag([-3.0, 3.0, 3.0, 1.0])
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis, (of, flipped) in enumerate(zip(axes, flips, strict=True)):
        turn[of, axis] = -1 if flipped else 1
        turn[of, 3] = SHAPE[of] - 1 if flipped else 0
    array = np.flip(las.transpose(axes), tuple(n for n in range(3) if flips[n]))
    return LabelMap(array=np.ascontiguousarray(array), affine=matrix @ turn), las


@pytest.mark.parametrize(
    ("axes", "flips"), [*product(permutations(range(3)), [(False, True, False), (True, False, True)])]
)
def test_boxes_come_back_to_any_storage(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    stored, las = _stored(axes, flips)
    np.testing.assert_array_equal(working_labels(stored), las.transpose(2, 1, 0))
    low, high = np.argwhere(las.transpose(2, 1, 0)).min(0), np.argwhere(las.transpose(2, 1, 0)).max(0)
    points = np.array(
        [[low[0], 7, 7], [7, low[1], 7], [7, 7, low[2]], [high[0], 7, 7], [7, high[1], 7], [7, 7, high[2]]]
    )
    corners = corners_of(space_of(stored.grid).extremes_in_file(points))[:, ::-1]
    voxels = np.argwhere(stored.array)
    np.testing.assert_array_equal(corners, [voxels.min(0), voxels.max(0)])


def test_las_runs_to_the_left_the_front_and_the_head() -> None:
    grid = Grid(SHAPE, np.diag([3.0, 3.0, 3.0, 1.0]))  # RAS
    world = grid.affine @ las_to_file(grid)
    np.testing.assert_array_equal(world[:3, :3], np.diag([-3.0, 3.0, 3.0]))


def test_images_are_splines_as_scipys() -> None:
    rng = np.random.default_rng(0)
    array = rng.uniform(-900, 900, size=(1, 19, 14, 11)).astype(np.float32)
    volume = Volume(array=array, affine=np.diag([-1.3, 2.0, 5.0, 1.0]), intensity="hu")
    copy = working_copy(volume)
    wanted = ndimage.zoom(array[0].transpose(2, 1, 0), (5 / 3, 2 / 3, 1.3 / 3), order=3)
    wanted = np.interp(wanted, (-1000, -200, 200, 1500), (0, 0.2, 0.8, 1))
    assert copy.image.shape == working_shape(volume.grid) == wanted.shape
    np.testing.assert_allclose(copy.image, wanted, atol=1e-5)


def test_a_structure_that_3_mm_lose_keeps_a_voxel() -> None:
    array = np.zeros((40, 40, 40), np.uint8)
    array[10, 20, 31] = 7
    labels = working_labels(LabelMap(array=array, affine=np.diag([-0.5, 0.5, 0.5, 1.0])))
    assert np.argwhere(labels == 7).tolist() == [[5, 3, 2]]


def test_what_is_no_ct_is_refused_or_warned_about() -> None:
    plain = example_volumes()[0]
    with pytest.raises(InputError, match="is MR, but MedLAM was trained on CT"):
        working_copy(Volume(array=plain.array, affine=plain.affine, intensity="mr"))
    with pytest.raises(InputError, match="has 2 channels"):
        working_copy(example_volumes(channels=2)[0])
    with pytest.raises(InputError, match="NaN or infinite"):
        working_copy(plain.with_array(np.where(plain.array > 0, np.nan, plain.array)))
    with pytest.warns(OmlabWarning, match="they are no HU"):
        working_copy(plain.with_array(plain.array + 1024))
