from itertools import permutations, product

import numpy as np
import pytest

from omlab_evaluators.labels import Pair
from omlab_evaluators.overlay import (
    BOTH_COLOUR,
    LONGEST_SIDE,
    PREDICTION_COLOUR,
    REFERENCE_COLOUR,
    Orientation,
    overlays,
)

PAIRS = [Pair("liver", 1, 1), Pair("spleen", 2, 2)]


def painted(picture, colour):
    return (picture == np.array(colour, dtype=np.uint8)).all(axis=2)


@pytest.fixture
def scene(stand_ins):
    """Image, reference and prediction; the liver is at the patient's right, in front, and near the head."""
    shape = (20, 24, 16)
    affine = np.array([[2.0, 0, 0, -20], [0, 1.5, 0, 5], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    array = np.zeros(shape, dtype=np.uint8)
    array[stand_ins.ball(shape, (15, 18, 12), 3)] = 1
    moved = np.roll(array, 2, axis=0)
    image = np.random.default_rng(0).normal(40, 50, (1, *shape)).astype(np.float32)
    return stand_ins.Volume(image, affine), stand_ins.LabelMap(array, affine), stand_ins.LabelMap(moved, affine)


def reoriented(payload, axes, flips, stand_ins):
    """The same payload in space with other voxel axes."""
    array, affine = payload.array, payload.affine.copy()
    spatial = array.ndim - 3
    for axis in flips:
        n = array.shape[axis + spatial]
        array = np.flip(array, axis + spatial)
        affine[:3, 3] += affine[:3, axis] * (n - 1)
        affine[:3, axis] *= -1
    array = array.transpose(*range(spatial), *(a + spatial for a in axes))
    affine = affine[:, [*axes, 3]]
    return type(payload)(array, affine)


def test_all_48_orders_of_axes_give_the_same_pictures(scene, stand_ins):
    image, reference, prediction = scene
    expected = overlays(reference, prediction, image=image, pairs=PAIRS)
    for axes in permutations(range(3)):
        for flipped in product((False, True), repeat=3):
            flips = [n for n in range(3) if flipped[n]]
            other = [reoriented(p, axes, flips, stand_ins) for p in (reference, prediction, image)]
            found = overlays(other[0], other[1], image=other[2], pairs=PAIRS)
            for plane, picture in expected.items():
                if plane == "axial" or not flips:  # an even extent rounds its middle either way
                    np.testing.assert_array_equal(found[plane], picture, err_msg=f"{plane} {axes} {flips}")


def test_the_patients_right_is_on_the_left_and_head_and_front_are_up(scene):
    image, reference, _ = scene
    pictures = overlays(reference, reference, image=image, pairs=PAIRS)
    places = {}
    for plane, picture in pictures.items():
        rows, columns = np.nonzero(painted(picture, BOTH_COLOUR)[:, 30:])  # beside the letter
        places[plane] = (rows.mean() / picture.shape[0], (columns.mean() + 30) / picture.shape[1])
    assert places["axial"] < (0.5, 0.5)  # front is up
    assert all(row < 0.5 and column < 0.5 for row, column in places.values())


def test_one_pixel_has_one_size(scene):
    image, reference, prediction = scene
    pictures = overlays(reference, prediction, image=image, pairs=PAIRS)
    # 40 x 36 x 48 mm
    assert {picture.shape[1] for picture in pictures.values()} == {round(40 / 48 * LONGEST_SIDE)}
    assert pictures["coronal"].shape[0] == pictures["sagittal"].shape[0] == LONGEST_SIDE
    assert pictures["axial"].shape[0] == round(36 / 48 * LONGEST_SIDE)


def test_outlines_have_their_colours(scene):
    image, reference, prediction = scene
    shifted = overlays(reference, prediction, image=image, pairs=PAIRS)["axial"]
    assert painted(shifted, REFERENCE_COLOUR).any()
    assert painted(shifted, PREDICTION_COLOUR).any()
    same = overlays(reference, reference, image=image, pairs=PAIRS)["axial"]
    assert painted(same, BOTH_COLOUR).any()
    assert not painted(same, REFERENCE_COLOUR).any()


def test_the_slices_show_some_of_the_reference(stand_ins):
    array = np.zeros((30, 10, 10), dtype=np.uint8)
    array[2:5, 5, 5] = array[25:28, 5, 5] = 1  # the mean lies between the two parts
    array[25:29, 5, 5] = 1
    for picture in overlays(stand_ins.LabelMap(array), stand_ins.LabelMap(array), image=None, pairs=PAIRS).values():
        assert painted(picture[:, 30:], BOTH_COLOUR).any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 64, 64), (64, 64, 1), (3, 200, 2)])
@pytest.mark.parametrize("filled", [True, False])
def test_odd_grids_and_empty_maps(shape, filled, stand_ins):
    reference = stand_ins.LabelMap(np.full(shape, filled, dtype=np.uint8))
    empty = stand_ins.LabelMap(np.zeros(shape, dtype=np.uint8))
    image = stand_ins.Volume(np.full((1, *shape), np.nan, dtype=np.float32), intensity="mr")
    for picture in overlays(reference, empty, image=image, pairs=PAIRS).values():
        assert picture.dtype == np.uint8
        assert max(picture.shape) <= LONGEST_SIDE
        assert (picture.max() > 0) == filled or picture.shape[0] > 26  # the letter


def test_orientation_of_an_oblique_grid():
    turn = np.radians(20)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-2.0, 1.0, 3.0])[:, [2, 0, 1]]
    found = Orientation.of(affine)
    assert found.axes == (1, 2, 0)
    assert found.backwards == (True, False, False)
    assert found.spacing == pytest.approx((2.0, 1.0, 3.0))
