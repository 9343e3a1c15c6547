"""Prompts in images of two dimensions: pixels x, y."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omlab.errors import GeometryError, InputError, UsageError
from omlab_prompts.prompts import Box, Object, Point, Prompts
from omlab_prompts.prompts_json import read, write
from omlab_prompts.testing import prompts_for


class Flat:
    """An image of 4 rows and 6 columns."""

    kind = "image"
    name = "slice.png"
    shape = (4, 6)

    def same_grid(self, other: Any) -> bool:
        return isinstance(other, Flat)


class Solid:
    """A volume."""

    kind = "volume"
    name = "ct.nii.gz"
    affine = np.eye(4)
    shape = (4, 6, 5)

    def same_grid(self, other: Any) -> bool:
        return isinstance(other, Solid)


def pixels(*at: tuple[float, ...], image: str = "slice.png") -> Prompts:
    points = tuple(Point(at=place) for place in at)
    return Prompts(space="pixel", image=image, objects=(Object(name="organ", points=points),))


def test_pixels_are_columns_and_rows() -> None:
    pixels((5.4, 3)).check_belongs({"image": Flat()})
    with pytest.raises(GeometryError, match=r"lies outside slice.png: pixel \(3.0, 5.0\) of an image of 6 x 4"):
        pixels((3, 5)).check_belongs({"image": Flat()})


def test_pixels_are_those_of_a_size_where_no_image_is_named(tmp_path: Path) -> None:
    objects = (Object(name="organ", points=(Point(at=(5.4, 3)),)),)
    made = Prompts(space="pixel", size=(6, 4), objects=objects)
    write(made, tmp_path / "clicks.json")
    assert read(tmp_path / "clicks.json") == made
    made.check_belongs({"image": Flat()})
    other = Prompts(space="pixel", size=(6, 5), objects=objects)
    with pytest.raises(GeometryError, match=r"pixels of an image of 6 x 5, but slice.png has 6 x 4"):
        other.check_belongs({"image": Flat()})
    with pytest.raises(UsageError, match="'size' is that of images of two dimensions"):
        Prompts.from_value({"space": "ras", "size": [6, 4], "objects": [{"name": "a", "text": ["liver"]}]})


def test_a_file_of_boxes_comes_back(tmp_path: Path) -> None:
    made = Prompts(
        space="pixel", image="slice.png", objects=(Object(name="organ", boxes=(Box(near=(1, 2), far=(3, 3)),)),)
    )
    write(made, tmp_path / "boxes.json")
    assert read(tmp_path / "boxes.json") == made


def test_prompts_of_another_number_of_axes_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"pixels of slice.png, not of other.png"):
        pixels((1, 1)).in_pixels(shape=(4, 6), image="other.png")
    with pytest.raises(GeometryError, match=r"pixels of ct.nii.gz, but a volume is pointed at in voxels or in mm"):
        pixels((1, 1), image="ct.nii.gz").check_belongs({"volume": Solid()})
    world = Prompts(space="ras", objects=(Object(name="organ", points=(Point(at=(1, 1, 1)),)),))
    with pytest.raises(GeometryError, match=r"positions in mm, but slice.png is an image of two dimensions"):
        world.check_belongs({"image": Flat()})
    world.check_belongs({"image": Flat(), "volume": Solid()})  # they lie in one of them


@pytest.mark.parametrize(
    ("space", "at", "words"),
    [
        ("pixel", [1, 2, 3], r"point 1 of 'organ': 'at' must be two finite numbers, not \[1, 2, 3\]"),
        ("pixel", [1], r"'at' must be two finite numbers, not \[1\]"),
        ("voxel", [1, 2], r"point 1 of 'organ': 'at' must be three finite numbers, not \[1, 2\]"),
        ("pixel", ["a", 2], r"'at' must be two finite numbers, not \[\"a\", 2\]"),
    ],
)
def test_wrong_numbers_are_one_sentence(tmp_path: Path, space: str, at: list[Any], words: str) -> None:
    content = {"space": space, "image": "slice.png", "objects": [{"name": "organ", "points": [{"at": at}]}]}
    (tmp_path / "clicks.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        read(tmp_path / "clicks.json")


def test_pixels_name_their_image() -> None:
    with pytest.raises(ValueError, match="pixels are those of an image"):
        Prompts(space="pixel", objects=(Object(name="organ", points=(Point(at=(1, 1)),)),))


def test_examples_point_at_a_flat_target() -> None:
    class Target(Flat):
        array = np.array([[0, 0, 0, 0, 0, 0], [0, 0, 0, 2, 0, 0], [0, 0, 0, 2, 0, 0], [0, 0, 0, 2, 2, 0]], np.uint8)

        def present(self) -> dict[int, str]:
            return {2: "organ"}

    made = prompts_for(Flat(), Target())
    (entry,) = made.objects
    assert (made.space, made.image, entry.name) == ("pixel", "slice.png", "organ")
    assert entry.points[0].at == (3, 2)
    assert entry.boxes[0] == Box(near=(3, 1), far=(4, 3))
