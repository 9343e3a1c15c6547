"""Pictures of label maps over their images: in true proportions, with what was found and what is right."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from omlab.errors import GeometryError
from omlab_image import Image, LabelMap2D
from omlab_image.testing import example_images, example_labelmaps, odd_images, odd_labelmaps
from omlab_payloads.boxes import Box, Boxes
from omlab_payloads.colours import default_colour


def _drawn(labelmap: LabelMap2D, image: Image, target: LabelMap2D | None = None) -> np.ndarray:
    return np.array(Pillow.open(io.BytesIO(labelmap.overlay({"image": image}, target=target))).convert("RGB"))


def test_classes_are_filled_where_they_are_and_nowhere_else() -> None:
    image, labelmap = example_images()[2], example_labelmaps()[2]
    drawn = _drawn(labelmap, image)
    height = round(360 * image.shape[0] / image.shape[1])
    assert drawn.shape[1] == 360
    plain = _drawn(replace(labelmap, array=np.zeros_like(labelmap.array)), image)
    differs = (drawn[:height] != plain[:height]).any(2)
    labelled = np.array(Pillow.fromarray(labelmap.array).resize((360, height), Pillow.Resampling.NEAREST)) > 0
    assert (differs & ~labelled).mean() < 0.02
    assert (differs[labelled]).mean() > 0.95


def test_the_edge_has_the_colour_of_its_class_and_the_reference_is_white() -> None:
    image, labelmap = example_images()[0], example_labelmaps()[0]
    drawn = _drawn(labelmap, image)
    for value in (1, 2):
        assert (drawn[: 300 // 1] == default_colour(value)).all(2).any()
    moved = replace(labelmap, array=np.roll(labelmap.array, 5, axis=1))
    with_reference = _drawn(labelmap, image, moved)
    assert (with_reference[:300] == 255).all(2).sum() > (drawn[:300] == 255).all(2).sum() + 50


def test_pixels_have_their_true_proportions() -> None:
    image = Image(array=np.zeros((40, 40), np.uint8), spacing=(0.2, 0.1))
    labelmap = LabelMap2D(array=np.zeros((40, 40), np.uint8), spacing=(0.2, 0.1))
    assert _drawn(labelmap, image).shape[:2] == (360, 180)


def test_boxes_are_drawn_where_they_are_and_references_in_white() -> None:
    image = Image(array=np.full((60, 90), 90, np.uint8))
    found = Boxes(space="pixel", boxes=[Box(near=(10, 10), far=(40, 30), label="polyp", score=0.75)])
    reference = Boxes(space="pixel", boxes=[Box(near=(50, 20), far=(80, 50), label="polyp")])
    png = found.overlay({"image": image}, target=reference)
    drawn = np.array(Pillow.open(io.BytesIO(png)).convert("RGB"))
    scale = drawn.shape[1] / 90
    bottom, left = round(30.5 * scale) - 1, round(50.5 * scale)
    assert tuple(drawn[bottom, round(25 * scale)]) == default_colour(1)
    assert tuple(drawn[round(40 * scale), left]) == (255, 255, 255)
    assert tuple(drawn[round(5 * scale), round(5 * scale)]) == (90, 90, 90)
    with pytest.raises(GeometryError, match="Boxes in voxel space are no places in an image"):
        image.with_boxes(Boxes(space="voxel"))


def _ink(named: LabelMap2D, image: Image, target: LabelMap2D | None = None) -> np.ndarray:
    """Rows and columns of what a name changes in the picture itself, in pixels of the picture."""
    blank = replace(named, names=dict.fromkeys(named.names, " "))
    target_blank = None if target is None else replace(target, names=dict.fromkeys(target.names, " "))
    with_names, without = _drawn(named, image, target), _drawn(blank, image, target_blank)
    rows = min(len(with_names), len(without), round(360 * image.shape[0] / max(image.shape)))
    return np.argwhere((with_names[:rows] != without[:rows]).any(2))


def test_a_class_is_named_where_it_is() -> None:
    image = Image(array=np.full((60, 90), 90, np.uint8))
    array = np.zeros((60, 90), np.uint8)
    array[10:50, 5:45] = 1
    array[28:31, 70:73] = 2
    labelmap = LabelMap2D(array=array, names={1: "disc", 2: "cup"})
    for value, (rows, columns) in {1: ((10, 50), (5, 45)), 2: ((20, 40), (50, 90))}.items():
        alone = replace(labelmap, array=np.where(array == value, array, 0).astype(np.uint8))
        ink = _ink(alone, image) / 4
        assert len(ink) > 50
        assert rows[0] < ink[:, 0].min() < ink[:, 0].max() < rows[1]
        assert columns[0] < ink[:, 1].min() < ink[:, 1].max() < columns[1]


def test_a_picture_says_in_words_what_it_shows() -> None:
    image = Image(array=np.full((60, 90), 90, np.uint8), title="frame 3 of 8, 0.12 s")
    array = np.zeros((60, 90), np.uint8)
    array[10:50, 5:45] = 1
    found = LabelMap2D(array=array, names={1: "disc", 2: "cup"})
    with_cup = replace(found, array=np.roll(array, 40, axis=1) * np.uint8(2) + array)
    said = Pillow.open(io.BytesIO(found.overlay({"image": image}, target=with_cup))).text["Description"]
    assert said == (
        "frame 3 of 8, 0.12 s. Filled: disc. White lines: the reference. With a white name, where the result has "
        "none: cup."
    )
    boxes = Boxes(space="pixel", boxes=[Box(near=(10, 10), far=(40, 30), label="polyp", score=0.75)])
    said = Pillow.open(io.BytesIO(boxes.overlay({"image": image}))).text["Description"]
    assert said == "frame 3 of 8, 0.12 s. Boxes: polyp 0.75."


def test_a_title_is_written_at_the_top() -> None:
    labelmap = LabelMap2D(array=np.zeros((60, 90), np.uint8))
    plain, titled = (
        _drawn(labelmap, Image(array=np.full((60, 90), 90, np.uint8), title=title)) for title in ("", "frame 3 of 8")
    )
    ink = np.argwhere((plain != titled).any(2))
    assert len(ink) > 50
    assert ink[:, 0].max() < 30


def test_a_box_is_named_beside_it_and_what_was_missed_in_white() -> None:
    image = Image(array=np.full((60, 90), 90, np.uint8))

    def drawn(label: str, other: str) -> np.ndarray:
        found = Boxes(space="pixel", boxes=[Box(near=(10, 20), far=(40, 40), label=label, score=0.75)])
        missed = Boxes(space="pixel", boxes=[Box(near=(50, 20), far=(80, 40), label=other)])
        png = found.overlay({"image": image}, target=missed)
        return np.array(Pillow.open(io.BytesIO(png)).convert("RGB"))[:240]

    named = drawn("polyp", "ulcer")
    name, missed = (np.argwhere((named != drawn(*labels)).any(2)) / 4 for labels in (("", "ulcer"), ("polyp", "")))
    assert len(name) > 50
    assert name.max(0)[0] < 20 < 45 < len(missed)
    assert name.max(0)[1] < 50 < missed.min(0)[1]


def test_other_pixels_are_refused() -> None:
    image, labelmap = example_images()[0], example_labelmaps()[0]
    with pytest.raises(GeometryError, match=r"40 x 48.*56 x 37"):
        labelmap.overlay({"image": example_images()[1]})
    with pytest.raises(GeometryError, match="reference"):
        labelmap.overlay({"image": image}, target=example_labelmaps()[1])


def test_odd_ones_are_drawn() -> None:
    labelmap = example_labelmaps()[0]
    for image in odd_images().values():
        fitting = LabelMap2D(array=np.resize(labelmap.array, image.shape))
        assert _drawn(fitting, image).size
    for odd in odd_labelmaps().values():
        assert _drawn(odd, Image(array=np.zeros(odd.shape, np.uint8))).size
    many = LabelMap2D(array=np.arange(30, dtype=np.uint8).reshape(5, 6))
    assert _drawn(many, Image(array=np.zeros((5, 6), np.uint8))).size
