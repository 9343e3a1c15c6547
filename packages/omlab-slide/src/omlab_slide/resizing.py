"""Making pixels coarser: what is smaller than it was read is the mean of what it covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from omlab_slide.slide import Slide

Pixels = NDArray[np.uint8]

_BLOCK = 2048
"""Pixels of a level along a side that are in memory at once."""


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Pixels (h, w, 3) as `size` (width, height): means where it is smaller, linear where it is larger."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    is_smaller = size[0] <= pixels.shape[1] and size[1] <= pixels.shape[0]
    out = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR)
    return np.asarray(out, np.uint8)


def overview(slide: Slide, longest: int) -> Pixels:
    """The slide whole with at most `longest` pixels along its longer side.

    The coarsest level that is fine enough is read in blocks; each is made coarser before the next is read.
    """
    width, height = slide.dimensions
    factor = max(max(width, height) / longest, 1.0)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return at_size(slide, size)


def at_size(slide: Slide, size: tuple[int, int]) -> Pixels:
    """The slide whole as `size` (width, height); not to be written to.

    The last one is kept, and what is smaller made of it: of a slide without coarse levels each costs a reading of it
    all.
    """
    last = slide.kept.get("overview")
    if last is not None and last.shape[1] >= size[0] and last.shape[0] >= size[1]:
        return resized(last, size)
    found = _read(slide, size)
    found.setflags(write=False)
    slide.kept["overview"] = found
    return found


def _read(slide: Slide, size: tuple[int, int]) -> Pixels:
    width, height = slide.dimensions
    number = slide.level_for(min(width / size[0], height / size[1]))
    level = slide.levels[number]
    step = max(1, int(min(level.size[0] / size[0], level.size[1] / size[1])))
    block = max(step, _BLOCK // step * step)
    small = np.empty((-(-level.size[1] // step), -(-level.size[0] // step), 3), np.uint8)
    x_scale, y_scale = width / level.size[0], height / level.size[1]
    for top in range(0, level.size[1], block):
        for left in range(0, level.size[0], block):
            extent = (min(block, level.size[0] - left), min(block, level.size[1] - top))
            pixels = slide.read((round(left * x_scale), round(top * y_scale)), number, extent)
            coarse = resized(pixels, (-(-extent[0] // step), -(-extent[1] // step)))
            y, x = top // step, left // step
            small[y : y + coarse.shape[0], x : x + coarse.shape[1]] = coarse
    return resized(small, size)
