"""What pictures of every modality are drawn with: classes, their names, a legend."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from omlab_payloads.colours import default_colour
from omlab_payloads.pictures.classes import OUTLINE, outlined, painted, spots
from omlab_payloads.pictures.legend import square, with_legend
from omlab_payloads.pictures.names import draw_names, names_of, told
from omlab_payloads.pictures.words import as_png, font

GROUND = np.full((80, 120, 3), 100, np.uint8)


@pytest.fixture
def classes() -> np.ndarray:
    """A large one, and a small one at its right."""
    values = np.zeros((80, 120), np.uint8)
    values[10:70, 10:70] = 1
    values[30:50, 90:110] = 2
    return values


def test_classes_are_filled_and_their_edges_full(classes: np.ndarray) -> None:
    picture = painted(GROUND, classes)
    for value, (row, column) in {1: (10, 40), 2: (40, 90)}.items():
        assert tuple(picture[row, column]) == default_colour(value)
        assert tuple(picture[row + 3, column + 3]) not in (default_colour(value), (100, 100, 100))
    assert (picture[classes == 0] == 100).all() or (picture[classes == 0] != 100).any(1).sum() < 4 * 80 * 2
    assert tuple(painted(GROUND, classes, colours={1: (9, 8, 7)})[10, 40]) == (9, 8, 7)


def test_an_outline_is_white_beside_dark(classes: np.ndarray) -> None:
    picture = outlined(GROUND, classes)
    assert tuple(picture[10, 40]) == OUTLINE
    assert tuple(picture[9, 40]) == (35, 35, 35)
    assert tuple(picture[40, 40]) == (100, 100, 100)


@pytest.mark.parametrize("times", [1, 3, 11])
def test_a_class_is_thickest_in_its_middle_at_any_size(classes: np.ndarray, times: int) -> None:
    large, small = spots(classes.repeat(times, axis=0).repeat(times, axis=1))
    assert (large.value, small.value) == (1, 2)
    for spot, (x, y, depth) in ((large, (40, 40, 30)), (small, (100, 40, 10))):
        np.testing.assert_allclose([spot.x / times, spot.y / times], [x, y], atol=2)
        assert spot.depth / times == pytest.approx(depth, abs=1.5)


def test_names_stand_apart_and_those_without_room_are_left_out(classes: np.ndarray) -> None:
    wide = np.pad(classes, ((0, 0), (0, 60)))
    names = names_of(spots(wide), (), names={1: "kidney", 2: "kidney"}, targets={}, colours={})
    blank = Image.new("RGB", (180, 80))
    assert len(draw_names(ImageDraw.Draw(blank), names, size=blank.size)) == 2
    assert draw_names(ImageDraw.Draw(blank), names, size=(20, 8)) == []
    assert draw_names(ImageDraw.Draw(blank), names, size=blank.size, taken=[(0, 0, 180, 80)]) == []


def test_what_the_reference_alone_has_is_told(classes: np.ndarray) -> None:
    names = names_of(
        spots(classes == 1), spots(classes), names={1: "Liver"}, targets={1: "liver", 2: "cyst"}, colours={}
    )
    assert [(name.words, name.is_of_target) for name in names] == [("Liver", False), ("cyst", True)]
    assert told(["Liver"], names, is_outlined=True) == (
        "Filled: Liver. White lines: the reference. With a white name, where the result has none: cyst."
    )


@pytest.mark.parametrize("letters", [13, 30])
def test_a_legend_has_as_many_rows_as_it_takes(letters: int) -> None:
    canvas = Image.new("RGB", (400, 50), (100, 100, 100))
    assert with_legend(canvas, []) is canvas
    one, many = (
        with_legend(canvas, [(square(fill=default_colour(n)), f"class {n}") for n in range(1, count)], letters=letters)
        for count in (2, 13)
    )
    assert many.height > one.height + 2 * letters
    colours = {colour for _, colour in many.getcolors(1 << 20)}
    assert {default_colour(n) for n in range(1, 13)} <= colours
    assert font(letters).getlength("class 12") < 400


def test_a_png_says_what_it_shows() -> None:
    with Image.open(io.BytesIO(as_png(Image.new("RGB", (8, 8)), said="Filled: kidney (left)."))) as picture:
        assert picture.text == {"Description": "Filled: kidney (left)."}
    assert Image.open(io.BytesIO(as_png(Image.new("RGB", (8, 8)), said=""))).text == {}
