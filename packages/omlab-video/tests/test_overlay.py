"""`--overlay` takes a film: masks over their clip, beside the masks themselves or later."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import videos
from PIL import Image

import omlab
from omlab.errors import UsageError
from omlab.jobs.outputs import draw
from omlab.jobs.pictures import check_pictures
from omlab.roles import Sample
from omlab_payloads.boxes import Box, Boxes
from omlab_video.clip import Clip
from omlab_video.io.decoding import read_video
from omlab_video.over_time import BoxesClip, LabelMapClip


def test_masks_are_drawn_into_a_film_of_their_clip(tmp_path: Path) -> None:
    clip = omlab.read(videos.write(tmp_path / "a.mp4"), kind="clip")
    masks = np.zeros(clip.shape, np.uint8)
    masks[3, 20:] = 1
    place = tmp_path / "pictures" / "over.mp4"
    check_pictures("labelmap-clip", place, count=1)
    draw([LabelMapClip(array=masks)], Sample(id="a", inputs={"clip": clip}), place, kind="labelmap-clip")
    drawn = read_video(place)
    assert drawn.shape == clip.shape
    changed = np.abs(drawn.read([2, 3]).astype(int) - clip.read([2, 3]))[:, 30:, 30:].mean((1, 2, 3))
    assert changed[0] < 5 < changed[1]


def test_frames_say_which_they_are_and_what_is_in_them() -> None:
    clip = Clip.of(np.zeros((8, 100, 160, 3), np.uint8), rate=25.0)
    masks = np.zeros(clip.shape, np.uint8)
    masks[3, 60:, 90:] = 1
    found = LabelMapClip(array=masks, names={1: "polyp"})
    with Image.open(io.BytesIO(found.overlay({"clip": clip}))) as picture:
        assert picture.text["Description"] == "frame 4 of 8, 0.12 s. Filled: polyp."
    film, unnamed = (np.stack(list(one.drawn(clip))) for one in (found, found.named({1: " "})))
    ink = np.argwhere((film != unnamed).any((0, 3)))
    assert 20 < ink[:, 0].min() < ink[:, 0].max() < 45  # below the line that says which frame it is
    assert (film[0] != film[1])[:20].any()


def test_boxes_are_drawn_over_the_frame_of_the_surest() -> None:
    clip = Clip.of(np.zeros((4, 100, 160, 3), np.uint8))
    frames = [Boxes(space="pixel", boxes=[Box(near=(9, 9), far=(40, 40), label="polyp", score=s)]) for s in (0.2, 0.9)]
    found = BoxesClip(frames=[*frames, Boxes(space="pixel"), Boxes(space="pixel")])
    with Image.open(io.BytesIO(found.overlay({"clip": clip}))) as picture:
        assert picture.text["Description"] == "frame 2 of 4, 0.04 s. Boxes: polyp 0.90."
    with pytest.raises(UsageError, match="over a clip of 4 frames, but clip was given"):
        found.overlay({"clip": clip.part(0, 2)})


def test_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"over\.avi: name a file that ends in \.png or \.mp4, or a folder"):
        check_pictures("labelmap-clip", tmp_path / "over.avi", count=1)
    with pytest.raises(UsageError, match="2 pictures cannot go into one file"):
        check_pictures("labelmap-clip", tmp_path / "over.mp4", count=2)
