"""Planes of a volume: radiological convention, true proportions, colours and outlines."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from omlab_volume.pictures.place import place_of
from omlab_volume.pictures.planes import planes
from omlab_volume.volume import Label, LabelMap, Volume

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
LABELS = tuple(
    Label(value=value, name=name, colour=colour)
    for value, name, colour in ((1, "right", RED), (2, "anterior", GREEN), (3, "superior", BLUE))
)
MIDDLE = (20, 30, 10)


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


def _pictures(volume: Volume, labelmap: LabelMap | None = None, **given: Any) -> list[np.ndarray[Any, Any]]:
    at = given.pop("at", None) or place_of(labelmap, target=None, grid=volume.grid)
    return [panel.picture for panel in planes(volume, labelmap, at=at, **given)]


def _middle(picture: np.ndarray[Any, Any], colour: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    """Mean row and column of a label's edge."""
    return np.asarray(np.argwhere((picture == colour).all(axis=2)).mean(axis=0))


def test_sides_and_proportions() -> None:
    volume, labelmap = _case()
    axial, coronal, sagittal = _pictures(volume, labelmap, at=MIDDLE, height=60)
    assert axial.dtype == np.uint8
    # one pixel a mm
    assert [picture.shape for picture in (axial, coronal, sagittal)] == [(60, 40, 3), (40, 40, 3), (40, 60, 3)]
    assert _middle(axial, RED)[1] < 10  # the patient's right on the left
    assert _middle(axial, GREEN)[0] < 15  # anterior at the top
    assert _middle(coronal, RED)[1] < 10
    assert _middle(coronal, BLUE)[0] < 12  # superior at the top
    assert _middle(sagittal, GREEN)[1] < 12  # anterior on the left
    assert _middle(sagittal, BLUE)[0] < 12


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_planes_do_not_depend_on_the_axes(order: tuple[int, ...]) -> None:
    volume, labelmap = _case()
    wanted = _pictures(volume, labelmap, height=80)
    for flips in product((1, -1), repeat=3):
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
            turn[old, new] = flip
            turn[old, 3] = labelmap.array.shape[old] - 1 if flip < 0 else 0
        step = tuple(slice(None, None, flip) for flip in flips)
        turned = _pictures(
            Volume(array=volume.array[0].transpose(order)[step][None], affine=volume.affine @ turn, intensity="hu"),
            LabelMap(array=labelmap.array.transpose(order)[step], affine=volume.affine @ turn, labels=LABELS),
            height=80,
        )
        assert all(np.array_equal(a, b) for a, b in zip(turned, wanted, strict=True))


def test_the_target_is_outlined_and_what_is_found_is_filled() -> None:
    volume, labelmap = _case()
    moved = LabelMap(array=np.roll(labelmap.array, -10, axis=0), affine=labelmap.affine, labels=LABELS)
    (axial, *_) = (panel.picture for panel in planes(volume, labelmap, target=moved, at=MIDDLE, height=60))
    outline = np.argwhere((axial == WHITE).all(axis=2))
    # `right` lies at columns 2 to 7 as found and 12 to 17 as it should; its outline is its outermost pixels
    right = outline[(outline[:, 0] > 20) & (outline[:, 1] < 20)]
    assert (right.min(axis=0).tolist(), right.max(axis=0).tolist()) == ([26, 12], [33, 17])
    assert tuple(axial[30, 14]) == tuple(axial[45, 35])  # not filled
    assert (axial[30, 4] != axial[45, 35]).any()


def test_windows() -> None:
    array = np.full((1, 10, 10, 10), 40.0, np.float32)
    hu = Volume(array=array, affine=np.eye(4), intensity="hu")
    assert _pictures(hu, height=10)[0][5, 5].tolist() == [127, 127, 127]  # (40 + 160) / 400
    assert _pictures(hu, window=(0, 40), height=10)[0][5, 5].tolist() == [255, 255, 255]
    ramp = Volume(array=np.linspace(-5, 7, 1000).reshape(1, 10, 10, 10), affine=np.eye(4))
    assert max(picture.max() for picture in _pictures(ramp, height=10)) > 200
    nan = Volume(array=np.full((1, 10, 10, 10), np.nan), affine=np.eye(4))
    assert _pictures(nan, height=10)[0].max() == 0


def test_one_slice() -> None:
    flat = Volume(array=np.zeros((1, 20, 30, 1), np.float32), affine=np.diag([1.0, 1, 5, 1]))
    assert [picture.shape for picture in _pictures(flat, height=30)] == [(30, 20, 3), (5, 20, 3), (5, 30, 3)]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38, -3e38])
def test_values_without_a_shade_are_drawn(value: float) -> None:
    array = np.random.default_rng(0).random((1, 9, 9, 9)).astype(np.float32)
    array[0, ::2] = value
    for intensity in ("hu", "mr"):
        assert _pictures(Volume(array=array, affine=np.eye(4), intensity=intensity), height=30)[0].dtype == np.uint8
