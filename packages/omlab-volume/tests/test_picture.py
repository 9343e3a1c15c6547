"""The picture of a prediction: marks where the prompts are, whatever the storage, and told apart without colours."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import omlab
from omlab.errors import GeometryError, UsageError
from omlab.payloads import Pictured
from omlab_payloads.boxes import Box as FoundBox
from omlab_payloads.boxes import Boxes
from omlab_prompts.prompts import Box, Object, Point, Prompts
from omlab_volume.labels import default_colour
from omlab_volume.pictures.picture import picture
from omlab_volume.volume import Label, LabelMap, Volume

LABELS = (Label(value=1, name="organ", colour=(255, 0, 0)), Label(value=2, name="vessel", colour=(0, 0, 255)))
AFFINE = np.array([[2.0, 0, 0, -60], [0, 2.0, 0, -60], [0, 0, 4.0, -60], [0, 0, 0, 1]])
HEIGHT, GAP = 440, 6


def _case() -> tuple[Volume, LabelMap]:
    """A cube of 120 mm: voxels of 2 x 2 x 4 mm with an organ in the middle."""
    array = np.zeros((60, 60, 30), np.uint8)
    array[20:40, 20:40, 10:20] = 1
    volume = Volume(array=np.zeros((1, 60, 60, 30), np.float32), affine=AFFINE, intensity="hu")
    return volume, LabelMap(array=array, affine=AFFINE, labels=LABELS)


def _pixels(png: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def _clicks(*points: tuple[float, float, float, int]) -> Prompts:
    entry = Object(name="organ", points=tuple(Point(at=(i, j, k), label=label) for i, j, k, label in points))
    return Prompts(space="voxel", image="ct.nii.gz", objects=(entry,))


def _axial(voxel: tuple[float, float]) -> tuple[int, int]:
    """Row and column of a voxel in the axial panel, which is as high as the others."""
    i, j = voxel
    return round(GAP + (59.5 - j) * HEIGHT / 60), round(GAP + (59.5 - i) * HEIGHT / 60)


def _at(pixels: np.ndarray[Any, Any], voxel: tuple[float, float], *, beside: int = 0) -> list[int]:
    row, column = _axial(voxel)
    return [int(n) for n in pixels[row + beside, column + beside]]


def test_clicks_inside_and_outside_differ_in_brightness_and_shape() -> None:
    volume, labelmap = _case()
    labelmap = replace(labelmap, labels=[replace(LABELS[0], name="")])  # a name would stand where a click is
    pixels = _pixels(picture(volume, labelmap, prompts=[_clicks((30, 30, 15, 1), (10, 50, 15, 0))]))
    assert min(_at(pixels, (30, 30), beside=3)) > 240  # between the arms of the plus
    assert max(_at(pixels, (30, 30))) < 20
    assert max(_at(pixels, (10, 50), beside=-3)) < 20
    assert min(_at(pixels, (10, 50))) > 100  # the minus
    without = _pixels(picture(volume, labelmap))
    corners = [
        np.abs(pixels - without[: len(pixels)])[_axial(at)[0] + 6, _axial(at)[1] + 6].sum()
        for at in ((30, 30), (10, 50))
    ]
    assert corners[0] < 40 < corners[1]  # a disc leaves the corner of its square free


def test_marks_fade_and_vanish_with_their_distance() -> None:
    volume, labelmap = _case()
    prompts = _clicks((30, 30, 15, 1), (45, 45, 15.4, 1), (15, 45, 13, 1), (45, 15, 12, 1))
    pixels = _pixels(picture(volume, labelmap, prompts=[prompts]))
    assert min(_at(pixels, (45, 45), beside=3)) > 240  # within half a slice
    faint = _at(pixels, (15, 45), beside=2)
    assert 100 < min(faint) < 240  # 8 mm away
    plain = _pixels(picture(volume, labelmap))
    row, column = _axial((45, 15))
    assert (
        pixels[row - 8 : row + 8, column - 8 : column + 8] == plain[row - 8 : row + 8, column - 8 : column + 8]
    ).all()


def test_a_box_is_drawn_where_a_plane_cuts_it() -> None:
    volume, labelmap = _case()
    boxes = (Box(near=(18, 18, 9), far=(42, 42, 20)),)
    entry = Object(name="organ", boxes=boxes)
    pixels = _pixels(picture(volume, labelmap, prompts=[Prompts(space="voxel", image="x", objects=(entry,))]))
    row, _ = _axial((18, 18))
    line = pixels[row - 1 : row + 2, _axial((42, 18))[1] : _axial((18, 18))[1]]
    red = (line[..., 0] > 200) & (line[..., 1] < 60)
    assert 0.3 < red.any(axis=0).mean() < 0.9  # dashes
    aside = Object(name="organ", points=(Point(at=(5, 5, 2)),), boxes=boxes)
    elsewhere = _pixels(picture(volume, labelmap, prompts=[Prompts(space="voxel", image="x", objects=(aside,))]))
    line = elsewhere[row - 1 : row + 2, _axial((42, 18))[1] : _axial((18, 18))[1]]
    assert not ((line[..., 0] > 200) & (line[..., 1] < 60)).any()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_picture_does_not_depend_on_the_storage(order: tuple[int, ...]) -> None:
    volume, labelmap = _case()
    prompts = _clicks((28, 31, 14, 1), (10, 50, 15, 0)).in_world(AFFINE.tolist())
    wanted = picture(volume, labelmap, prompts=[prompts])
    for flips in product((1, -1), repeat=3):
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
            turn[old, new] = flip
            turn[old, 3] = labelmap.array.shape[old] - 1 if flip < 0 else 0
        step = tuple(slice(None, None, flip) for flip in flips)
        turned = Volume(array=volume.array[0].transpose(order)[step][None], affine=AFFINE @ turn, intensity="hu")
        labels = LabelMap(array=labelmap.array.transpose(order)[step], affine=AFFINE @ turn, labels=LABELS)
        assert picture(turned, labels, prompts=[prompts]) == wanted


def test_a_label_map_is_pictured_over_its_volume() -> None:
    volume, labelmap = _case()
    assert isinstance(labelmap, Pictured)
    other = Volume(array=volume.array, affine=np.eye(4))
    assert labelmap.overlay({"scout": other, "volume": volume}) == picture(volume, labelmap)
    clicks = _clicks((30, 30, 15, 1))
    assert labelmap.overlay({"volume": volume, "where": clicks}) == picture(volume, labelmap, prompts=[clicks])
    rough = LabelMap(array=np.roll(labelmap.array, 3, axis=0), affine=labelmap.affine, labels=labelmap.labels)
    assert labelmap.overlay({"volume": volume, "rough": rough}) == picture(volume, labelmap, target=rough)
    with pytest.raises(UsageError, match="drawn over a volume, but labelmap was given"):
        labelmap.overlay({"volume": labelmap})
    with pytest.raises(UsageError, match="not with a volume"):
        labelmap.overlay({"volume": volume}, target=volume)
    with pytest.raises(GeometryError, match="or lies elsewhere"):
        labelmap.overlay({"volume": other})
    with pytest.raises(GeometryError, match="reference's grid"):
        labelmap.overlay({"volume": volume}, target=LabelMap(array=labelmap.array, affine=np.eye(4)))
    with pytest.raises(GeometryError, match="outside"):
        labelmap.overlay({"volume": volume, "where": _clicks((90, 0, 0, 1))})


def test_the_target_is_outlined_where_it_differs() -> None:
    volume, labelmap = _case()
    missed = labelmap.array.copy()
    missed[2:12, 2:12, 22:28] = 2
    target = LabelMap(array=missed, affine=AFFINE, labels=LABELS)
    plain, compared = _pixels(labelmap.overlay({"v": volume})), _pixels(labelmap.overlay({"v": volume}, target=target))
    white = (compared == 255).all(axis=2)[GAP : GAP + HEIGHT, GAP : GAP + HEIGHT]
    rows, columns = np.nonzero(white)
    corner = np.array([_axial((11, 11)), _axial((2, 2))]) - GAP
    inside = (rows >= corner[0, 0] - 8) & (rows <= corner[1, 0] + 8)
    assert (inside & (columns >= corner[0, 1] - 8) & (columns <= corner[1, 1] + 8)).sum() > 200
    assert compared.shape == plain.shape  # one line of legend, with the reference in it
    assert (compared[-20:] != plain[-20:]).any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (40, 30, 1), (1, 40, 30), (300, 4, 4), (5, 5, 400)])
def test_odd_shapes_and_values_are_pictured(shape: tuple[int, int, int]) -> None:
    array = np.full((1, *shape), np.nan, np.float32)
    labels = LabelMap(array=np.full(shape, 40000, np.uint16), affine=np.eye(4))
    for labelmap in (None, labels):
        found = _pixels(picture(Volume(array=array, affine=np.eye(4)), labelmap))
        assert 1 < found.shape[0] < 2000
        assert found.shape[1] < 2500


def test_many_labels_are_summed_up_in_the_legend() -> None:
    array = np.arange(1, 41, dtype=np.uint8).reshape(40, 1, 1).repeat(40, axis=1).repeat(40, axis=2)
    volume = Volume(array=np.zeros((1, 40, 40, 40), np.float32), affine=np.eye(4))
    many = _pixels(picture(volume, LabelMap(array=array, affine=np.eye(4))))
    few = _pixels(picture(volume, LabelMap(array=np.minimum(array, 2), affine=np.eye(4))))
    assert few.shape[0] <= many.shape[0] <= few.shape[0] + 60
    assert many.shape[1] == few.shape[1]


def test_a_real_image(shared_data: Path) -> None:
    ct = omlab.read(shared_data / "ct-head-nifti" / "ct_avm.nii.gz")
    assert isinstance(ct, Volume)
    found = _pixels(picture(ct, prompts=[_clicks((128, 120, 77, 1))]))
    assert found.shape[1] > 1000
    assert found.std() > 20


def test_boxes_that_were_found_are_dashed_where_they_are() -> None:
    volume, _ = _case()
    box = FoundBox(near=(9.5, 19.5, 9.5), far=(19.5, 49.5, 19.5), label="organ")
    found = Boxes(space="voxel", boxes=[box])
    corners = np.array([[*box.near, 1], [*box.far, 1]]) @ AFFINE.T
    world = FoundBox(near=tuple(corners[0, :3]), far=tuple(corners[1, :3]), label="organ")
    png = found.overlay({"volume": volume})
    assert png == Boxes(space="world", boxes=[world]).overlay({"volume": volume})
    pixels = _pixels(png)
    colour = np.array(default_colour(1))
    near = np.abs(pixels - colour).sum(axis=2) < 60
    rows, columns = np.nonzero(near[:HEIGHT, : HEIGHT + GAP])
    top, left = _axial((19.5, 49.5))
    bottom, right = _axial((9.5, 19.5))
    assert abs(rows.min() - top) <= 3
    assert abs(rows.max() - bottom) <= 3
    assert abs(columns.min() - left) <= 3
    assert abs(columns.max() - right) <= 3
    with pytest.raises(UsageError, match="drawn over an input that they lie in"):
        found.overlay({})
