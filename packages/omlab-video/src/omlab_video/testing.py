"""Example clips, masks and boxes for the test kit (payload cards): small and computed, the same each time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omlab_payloads.boxes import Box, Boxes
from omlab_video.clip import Clip
from omlab_video.over_time import BoxesClip, LabelMapClip

NAMES = {1: "polyp"}
_SHAPES = ((6, 40, 48), (9, 36, 32), (3, 33, 64))


def example_clips() -> list[Clip]:
    """A bright disc that moves over a textured ground."""
    return [Clip.of(_frames(shape), rate=25.0, name="example") for shape in _SHAPES]


def example_masks() -> list[LabelMapClip]:
    """The discs of `example_clips`."""
    return [LabelMapClip(array=_disc(shape).astype(np.uint8), names=NAMES) for shape in _SHAPES]


def example_boxes() -> list[BoxesClip]:
    """The boxes around the discs of `example_clips`."""
    return [BoxesClip(frames=[_box(frame) for frame in _disc(shape)]) for shape in _SHAPES]


def odd_clips() -> dict[str, Clip]:
    """Of one frame, of black frames, of frames at unequal times, long and narrow."""
    plain = _frames(_SHAPES[0])
    uneven = Clip.of(plain)
    return {
        "one-frame": Clip.of(plain[:1]),
        "black": Clip.of(np.zeros_like(plain)),
        "uneven-times": Clip(frames=uneven.frames, times=np.cumsum([0.0, 0.04, 0.5, 0.01, 0.04, 2.0])),
        "narrow": Clip.of(np.repeat(plain[:, :, :20], 3, axis=1)),
    }


def odd_masks() -> dict[str, LabelMapClip]:
    """Without a class, and of one frame."""
    masks = _disc(_SHAPES[0]).astype(np.uint8)
    return {"empty": LabelMapClip(array=np.zeros_like(masks)), "one-frame": LabelMapClip(array=masks[:1])}


def _disc(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    frames, rows, columns = shape
    time, row, column = np.ogrid[:frames, :rows, :columns]
    inside: NDArray[np.bool_] = (row - rows / 2) ** 2 + (column - 10 - 2 * time) ** 2 < 36
    return inside


def _frames(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    _, row, column = np.ogrid[:1, : shape[1], : shape[2]]
    ground = 90 + 30 * np.sin(row / 5) * np.cos(column / 7)
    grey = np.where(_disc(shape), 220.0, ground)
    frames: NDArray[np.uint8] = np.rint(grey[..., None] * np.array([1.0, 0.6, 0.5])).astype(np.uint8)
    return frames


def _box(disc: NDArray[np.bool_]) -> Boxes:
    rows, columns = np.nonzero(disc)
    near, far = (columns.min() - 0.5, rows.min() - 0.5), (columns.max() + 0.5, rows.max() + 0.5)
    corners = [tuple(float(x) for x in corner) for corner in (near, far)]
    return Boxes(space="pixel", boxes=[Box(near=corners[0], far=corners[1], label="polyp", score=0.9)])
