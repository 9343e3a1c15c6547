"""`--overlay` takes a film: masks over their clip, beside the masks themselves or later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import videos

import omlab
from omlab.errors import UsageError
from omlab.jobs.outputs import draw
from omlab.jobs.pictures import check_pictures
from omlab.roles import Sample
from omlab_video.io.decoding import read_video
from omlab_video.over_time import LabelMapClip


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


def test_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"over\.avi: name a file that ends in \.png or \.mp4, or a folder"):
        check_pictures("labelmap-clip", tmp_path / "over.avi", count=1)
    with pytest.raises(UsageError, match="2 pictures cannot go into one file"):
        check_pictures("labelmap-clip", tmp_path / "over.mp4", count=2)
