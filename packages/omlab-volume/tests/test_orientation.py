from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_volume.geometry import Grid
from omlab_volume.orientation import canonical_array, canonical_grid, reorient_labels

TURNS = [(axes, flips) for axes in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def turned_affine(axes, flips, *, spacing=(0.7, 1.3, 4.0), tilt=0.0):
    rotation = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ (np.eye(3)[:, axes] * flips) * spacing
    affine[:3, 3] = [10.0, -20.0, 3.0]
    return affine


@pytest.mark.parametrize(("axes", "flips"), TURNS)
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_every_voxel_keeps_its_place_in_space(axes, flips, tilt):
    affine = turned_affine(axes, flips, tilt=tilt)
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    grid = Grid(array.shape[1:], affine)
    turned, there = canonical_array(array, grid), canonical_grid(grid)
    assert turned.shape[1:] == there.shape
    directions = there.affine[:3, :3] / there.spacing
    assert (np.diag(directions) > 0.9).all()
    for voxel in ((0, 0, 0), (2, 1, 3), (1, 3, 4)):
        world = affine @ [*voxel, 1]
        place = np.linalg.solve(there.affine, world)[:3].round().astype(int)
        assert (turned[:, *place] == array[:, *voxel]).all()


@given(turn=st.sampled_from(TURNS), shape=st.tuples(*[st.integers(1, 5)] * 3), tilt=st.floats(-0.7, 0.7))
@settings(max_examples=40, deadline=None)
def test_reorient_labels_is_the_inverse(turn, shape, tilt):
    grid = Grid(shape, turned_affine(*turn, tilt=tilt))
    array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    back = reorient_labels(canonical_array(array, grid), grid)
    assert back.flags.c_contiguous
    assert (back == array).all()


def test_label_maps_turn_like_volumes():
    grid = Grid((2, 3, 4), turned_affine((2, 0, 1), (1, -1, -1)))
    array = np.arange(24, dtype=np.uint8).reshape(grid.shape)
    assert (canonical_array(array[None], grid)[0] == canonical_array(array, grid)).all()


def test_another_shape_is_refused():
    grid = Grid((2, 3, 4), turned_affine((1, 0, 2), (1, 1, 1)))
    assert canonical_grid(grid).shape == (3, 2, 4)
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        reorient_labels(np.zeros((2, 3, 4), np.uint8), grid)
