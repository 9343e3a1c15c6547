"""Folders of frames are clips in natural order; gaps and other sizes are told. Masks over time come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import omlab
from omlab.errors import InputError
from omlab_video.io.frame_folder import FrameFolder, MaskFrames
from omlab_video.over_time import LabelMapClip


def folder(path: Path, numbers: list[int], *, size: tuple[int, int] = (8, 6)) -> Path:
    path.mkdir(exist_ok=True)
    for number in numbers:
        Pillow.new("RGB", size, (number, 0, 0)).save(path / f"frame{number}.png")
    return path


def test_frames_are_in_natural_order(tmp_path: Path) -> None:
    clip = omlab.read(folder(tmp_path / "a", list(range(12))), kind="clip")
    assert clip.shape == (12, 6, 8)
    assert clip.read(range(12))[:, 0, 0, 0].tolist() == list(range(12))
    assert clip.rate == pytest.approx(25)


def test_every_fifth_frame_is_no_gap(tmp_path: Path) -> None:
    clip = FrameFolder().read(folder(tmp_path / "a", [0, 5, 10, 15]), kind="clip", rate=5.0)
    assert clip.times.tolist() == pytest.approx([0, 0.2, 0.4, 0.6])


def test_a_gap_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gap: between frame3\.png and frame6\.png 2 frames are missing"):
        FrameFolder().read(folder(tmp_path / "a", [1, 2, 3, 6, 7, 8]), kind="clip", rate=25.0)


def test_another_size_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", [0, 1])
    folder(path, [2], size=(9, 6))
    with pytest.raises(InputError, match=r"frame2\.png has 6 x 9 pixels, frame0\.png 6 x 8"):
        FrameFolder().read(path, kind="clip", rate=25.0).read([2])
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="holds no frames"):
        FrameFolder().read(tmp_path / "b", kind="clip", rate=25.0)


def test_masks_come_back(tmp_path: Path) -> None:
    masks = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5) % 3
    MaskFrames().write(LabelMapClip(array=masks, names={1: "polyp"}), tmp_path / "a.masks")
    found = omlab.read(tmp_path / "a.masks", kind="labelmap-clip")
    np.testing.assert_array_equal(found.array, masks)
    assert found.names == {1: "polyp"}
