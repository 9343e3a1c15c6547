"""Marks of prompts in pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image as Pillow

from omlab_image.image import Image, LabelMap2D


@dataclass(frozen=True)
class Place:
    at: tuple[float, ...] = ()
    label: int = 1
    near: tuple[float, ...] = ()
    far: tuple[float, ...] = ()


@dataclass(frozen=True)
class Entry:
    points: tuple[Place, ...] = ()
    boxes: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Asked:
    kind: ClassVar[str] = "prompts"
    objects: tuple[Entry, ...] = ()
    space: str = "pixel"


HEIGHT = 180  # of the image in its picture: the legend is below it
IMAGE = Image(array=np.full((50, 100), 90, np.uint8))
LABELS = LabelMap2D(array=np.zeros((50, 100), np.uint8))


def drawn(**inputs: Any) -> np.ndarray:
    with Pillow.open(io.BytesIO(LABELS.overlay({"image": IMAGE, **inputs}))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)[:HEIGHT]


def test_clicks_are_where_they_were_set() -> None:
    plain = drawn()
    entry = Entry(points=(Place(at=(25, 12)), Place(at=(75, 37), label=0)))
    marked = drawn(prompts=Asked(objects=(entry,)))
    assert plain.shape == marked.shape
    changed = np.argwhere((plain != marked).any(axis=2))
    ratio = plain.shape[1] / 100
    for x, y, bright in ((25, 12, True), (75, 37, False)):
        at = np.array([(y + 0.5) * ratio, (x + 0.5) * ratio])
        near = changed[np.abs(changed - at).max(axis=1) < 10]
        np.testing.assert_allclose(near.mean(axis=0), at, atol=1.0)
        corner = marked[int(at[0]) + 3, int(at[1]) + 3]
        assert (corner.min() > 200) == bright
    assert len(changed) < 800


def test_a_box_is_dashed_along_its_edges() -> None:
    plain, marked = drawn(), drawn(prompts=Asked(objects=(Entry(boxes=(Place(near=(20, 10), far=(60, 40)),)),)))
    rows, columns = np.nonzero((plain != marked).any(axis=2))
    ratio = plain.shape[1] / 100
    wanted = [10.5, 40.5, 20.5, 60.5]
    found = np.array([rows.min(), rows.max(), columns.min(), columns.max()]) / ratio
    np.testing.assert_allclose(found, wanted, atol=1)


@pytest.mark.parametrize("space", ["ras", "voxel"])
def test_what_is_no_pixel_is_left_out(space: str) -> None:
    entry = Entry(points=(Place(at=(25, 12, 3)),))
    np.testing.assert_array_equal(drawn(prompts=Asked(objects=(entry,), space=space)), drawn())
