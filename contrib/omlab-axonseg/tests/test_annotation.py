"""Labels of axon cubes without a hand on a brush."""

import numpy as np
import pytest

from omlab_axonseg.annotation import centre_lines, fine_label, rough_label


def cube_with_axon():
    cube = np.random.default_rng(0).normal(200, 5, (24, 24, 24)).clip(0)
    cube[11:13, 11:13, 2:22] += 400
    return cube.astype(np.uint16)


def test_an_axon_and_no_noise_is_labelled() -> None:
    label = fine_label(rough_label(cube_with_axon()))
    assert label[9:15, 9:15, 4:20].any(axis=(0, 1)).all()
    assert not label[:8].any()
    assert not label[16:].any()


def test_a_threshold_by_hand_goes_before_otsus() -> None:
    cube = cube_with_axon()
    assert rough_label(cube, threshold=0).sum() > rough_label(cube).sum() > rough_label(cube, threshold=300).sum()


def test_a_cube_without_contrast_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing in the cube is brighter"):
        rough_label(np.full((8, 8, 8), 300, np.uint16))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_straight_axon_of_any_width_has_one_centre_line(width: int) -> None:
    mask = np.zeros((24, 24, 24), bool)
    mask[8 : 8 + width, 8 : 8 + width, 2:22] = True
    lines = centre_lines(mask)
    assert not (lines & ~mask).any()
    assert (lines.sum(axis=(0, 1))[4:20] == 1).all()
