"""The overlay picture: radiological convention, true proportions, label colours."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from omlab.errors import GeometryError
from omlab_volume.pictures.overlay import overlay
from omlab_volume.volume import Label, LabelMap, Volume

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
LABELS = tuple(
    Label(value=value, name=name, colour=colour)
    for value, name, colour in ((1, "right", RED), (2, "anterior", GREEN), (3, "superior", BLUE))
)


def _case() -> tuple[Volume, LabelMap]:
    """RAS axes of 1 x 1 x 2 mm, 40 x 60 x 20 voxels, with a block on the right, in front, and on top."""
    array = np.zeros((40, 60, 20), np.uint8)
    array[32:38, 26:34, 8:12] = 1
    array[18:22, 50:58, 8:12] = 2
    array[18:22, 26:34, 16:19] = 3
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = (-20, -30, -20)
    volume = Volume(array=np.zeros((1, 40, 60, 20), np.float32), affine=affine, intensity="hu")
    return volume, LabelMap(array=array, affine=affine, labels=LABELS)


def _middle(picture: np.ndarray, colour: tuple[int, int, int], columns: slice) -> np.ndarray:
    """Mean row and column of a label's outline inside some columns."""
    return np.argwhere((picture[:, columns] == colour).all(axis=2)).mean(axis=0)


def test_sides_and_proportions() -> None:
    volume, labelmap = _case()
    picture = overlay(volume, labelmap, at=(0, 0, 0), height=60)
    assert picture.dtype == np.uint8
    assert picture.shape == (60, 40 + 40 + 60 + 8, 3)  # one pixel a mm: 40 x 60, 40 x 40, 60 x 40
    axial, coronal, sagittal = slice(0, 40), slice(44, 84), slice(88, 148)
    assert _middle(picture, RED, axial)[1] < 10  # the patient's right on the left
    assert _middle(picture, GREEN, axial)[0] < 15  # anterior at the top
    assert _middle(picture, RED, coronal)[1] < 10
    assert _middle(picture, BLUE, coronal)[0] < 10 + 12  # superior at the top, below 10 rows of border
    assert _middle(picture, GREEN, sagittal)[1] < 12  # anterior on the left
    assert _middle(picture, BLUE, sagittal)[0] < 10 + 12


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_picture_does_not_depend_on_the_axes(order: tuple[int, ...]) -> None:
    volume, labelmap = _case()
    wanted = overlay(volume, labelmap, height=80)
    for flips in product((1, -1), repeat=3):
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
            turn[old, new] = flip
            turn[old, 3] = labelmap.array.shape[old] - 1 if flip < 0 else 0
        step = tuple(slice(None, None, flip) for flip in flips)
        turned = overlay(
            Volume(array=volume.array[0].transpose(order)[step][None], affine=volume.affine @ turn, intensity="hu"),
            LabelMap(array=labelmap.array.transpose(order)[step], affine=volume.affine @ turn, labels=LABELS),
            height=80,
        )
        assert np.array_equal(turned, wanted)


def test_windows() -> None:
    array = np.full((1, 10, 10, 10), 40.0, np.float32)
    hu = Volume(array=array, affine=np.eye(4), intensity="hu")
    assert overlay(hu, height=10)[5, 5].tolist() == [127, 127, 127]  # (40 + 160) / 400
    assert overlay(hu, window=(0, 40), height=10)[5, 5].tolist() == [255, 255, 255]
    ramp = Volume(array=np.linspace(-5, 7, 1000).reshape(1, 10, 10, 10), affine=np.eye(4))
    picture = overlay(ramp, height=10)
    assert picture.max() > 200
    nan = Volume(array=np.full((1, 10, 10, 10), np.nan), affine=np.eye(4))
    assert overlay(nan, height=10).max() == 0


def test_one_slice_and_another_grid() -> None:
    flat = Volume(array=np.zeros((1, 20, 30, 1), np.float32), affine=np.diag([1.0, 1, 5, 1]))
    assert overlay(flat, height=30).shape == (30, 20 + 20 + 30 + 8, 3)
    other = LabelMap(array=np.zeros((20, 30, 2), np.uint8), affine=np.eye(4))
    with pytest.raises(GeometryError, match="label map's grid"):
        overlay(flat, other)
