"""Plain pictures (PNG, JPEG, BMP, WebP) as slides of one level, through Pillow: decoded whole, as their formats ask.

What a header says of its density (dpi) is made up by cameras and programs: such a slide has no scale of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from omlab.errors import InputError, one_line
from omlab_slide.readers.reader import Level

MOST_PIXELS = 1 << 28
"""Of more, a file is refused before memory is taken (800 MB)."""
_one_at_a_time = Lock()


class ArrayReader:
    """Levels that are in memory: (h, w, 3) or (h, w, 4) uint8 each."""

    name = "picture"

    def __init__(self, arrays: Sequence[NDArray[np.uint8]], *, properties: Mapping[str, str] | None = None) -> None:
        width = arrays[0].shape[1]
        self._arrays = arrays
        self.levels: Sequence[Level] = [Level((a.shape[1], a.shape[0]), width / a.shape[1]) for a in arrays]
        self.properties: Mapping[str, str] = dict(properties or {})

    def read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels (h, w, 3 or 4), white outside."""
        array, downsample = self._arrays[level], self.levels[level].downsample
        left, top = (int(position // downsample) for position in location)
        x0, x1 = (min(max(x, 0), array.shape[1]) for x in (left, left + size[0]))
        y0, y1 = (min(max(y, 0), array.shape[0]) for y in (top, top + size[1]))
        pixels = np.full((size[1], size[0], array.shape[2]), 255, np.uint8)
        if x1 > x0 and y1 > y0:
            pixels[y0 - top : y1 - top, x0 - left : x1 - left] = array[y0:y1, x0:x1]
        return pixels

    def close(self) -> None:
        """Nothing is open."""


def open_reader(path: Path) -> ArrayReader:
    """The picture as a slide of one level. Raises `InputError`."""
    facts = path.stat()
    with _one_at_a_time:  # each thread has a reader: they share the pixels
        return ArrayReader(
            [_decoded(path, facts.st_size, facts.st_mtime_ns)], properties={"picture.format": path.suffix}
        )


@lru_cache(maxsize=2)
def _decoded(path: Path, size: int, mtime_ns: int) -> NDArray[np.uint8]:
    """The pixels (h, w, 3 or 4), upright; the same while size and time are."""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise InputError(f"it has {picture.width} x {picture.height} pixels, too many for a plain picture")
            upright = ImageOps.exif_transpose(picture)
            has_alpha = "A" in upright.getbands() or "transparency" in upright.info
            pixels = np.array(upright.convert("RGBA" if has_alpha else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(one_line(error)) from error
    pixels.setflags(write=False)
    return pixels
