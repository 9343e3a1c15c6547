"""Label maps of a part of an image's voxels."""

from itertools import permutations, product

import numpy as np
import pytest

from omlab_measure.measuring import measure
from omlab_measure.placing import placed_on
from omlab_volume.volume import LabelMap


def part_of(labelmap, slices, order, flips):
    """Some of a label map's voxels, with its axes in another order and direction."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    array = labelmap.array[slices]
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        turn[old, new] = flip
        turn[old, 3] = slices[old].start + (array.shape[old] - 1 if flip < 0 else 0)
    array = array.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    return LabelMap(array=array, affine=labelmap.affine @ turn, labels=labelmap.labels)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_voxels_go_where_they_lie(draw, order):
    labelmap, image = draw()
    slices = (slice(3, 30), slice(2, 26), slice(1, 14))
    assert (labelmap.array > 0).sum() == (labelmap.array[slices] > 0).sum()
    for flips in product((1, -1), repeat=3):
        placed = placed_on(part_of(labelmap, slices, order, flips), image.grid)
        assert placed.same_grid(image)
        np.testing.assert_array_equal(placed.array, labelmap.array)
    assert measure(placed, image).structures[0].name == "liver"


def test_what_lies_beside_the_voxels_stays_as_it_is(draw):
    labelmap, image = draw()
    assert placed_on(labelmap, image.grid) is labelmap
    for moved in (0.3, 40.0):  # between voxels; outside
        shift = np.eye(4)
        shift[0, 3] = moved
        other = LabelMap(array=labelmap.array[3:], affine=labelmap.affine @ shift)
        assert placed_on(other, image.grid) is other
    finer = LabelMap(array=labelmap.array, affine=labelmap.affine @ np.diag([0.5, 1, 1, 1]))
    assert placed_on(finer, image.grid) is finer
