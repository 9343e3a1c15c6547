"""Slides through tiffslide: pyramids in SubIFDs (OME-TIFF), and TIFF files that OpenSlide refuses."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tiffslide
from numpy.typing import NDArray

from omlab.errors import InputError, one_line
from omlab.silence import silent
from omlab_slide.readers.reader import Level

_COLOURS = {1, 3, 4}
_quiet = partial(silent, "tiffslide", "tifffile", "zarr", "imagecodecs", "numcodecs", "fsspec", unheard=["tifffile"])


class TiffSlideReader:
    """An open slide of tiffslide."""

    name = "tiffslide"

    def __init__(self, slide: tiffslide.TiffSlide) -> None:
        self._slide = slide
        self._close = weakref.finalize(self, slide.close)  # a thread that ends closes nothing itself
        self.levels: Sequence[Level] = [
            Level((int(width), int(height)), float(downsample))
            for (width, height), downsample in zip(slide.level_dimensions, slide.level_downsamples, strict=True)
        ]
        self.properties: Mapping[str, str] = {
            key: str(value) for key, value in slide.properties.items() if value is not None
        }

    def read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels (h, w, 3), white outside. Raises `InputError` where a tile cannot be decoded."""
        there = self.levels[level]
        left, top = (math.floor(position / there.downsample) for position in location)
        x0, x1 = (min(max(x, 0), there.size[0]) for x in (left, left + size[0]))
        y0, y1 = (min(max(y, 0), there.size[1]) for y in (top, top + size[1]))
        pixels = np.full((size[1], size[0], 3), 255, np.uint8)
        if x1 > x0 and y1 > y0:
            corner = (math.ceil(x0 * there.downsample), math.ceil(y0 * there.downsample))
            pixels[y0 - top : y1 - top, x0 - left : x1 - left] = self._decoded(corner, level, (x1 - x0, y1 - y0))
        return pixels

    def _decoded(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        try:
            with _quiet():
                found = np.asarray(self._slide.read_region(location, level, size, as_array=True))
        except Exception as error:  # every codec below has errors of its own
            raise InputError(one_line(error)) from error
        colour = found[..., :3].astype(np.uint8, copy=False)
        return colour if colour.shape[2] == 3 else np.repeat(colour, 3, axis=2)

    def close(self) -> None:
        """Let go of the file."""
        self._close()


def open_reader(path: Path) -> TiffSlideReader:
    """The slide of a TIFF file. Raises `InputError`."""
    if path.is_dir():
        raise InputError("it is a folder")
    try:
        with _quiet():
            slide = tiffslide.TiffSlide(path)
            reach = _reach(slide)
            sample = np.asarray(slide.read_region((0, 0), slide.level_count - 1, (1, 1), as_array=True))
    except Exception as error:  # it raises what tifffile, zarr and the standard library raise
        raise InputError(one_line(error)) from error
    size = path.stat().st_size
    if reach > size:  # what is not there would be black, and nobody would know
        slide.close()
        raise InputError(f"it is cut off: it has {size:,} bytes, but its tiles reach to {reach:,}; copy it again")
    if sample.dtype != np.uint8 or sample.shape[-1] not in _COLOURS:
        slide.close()
        raise InputError(f"it has {sample.shape[-1]} channels of {sample.dtype}, not 3 of uint8 as stained slides have")
    return TiffSlideReader(slide)


def _reach(slide: tiffslide.TiffSlide) -> int:
    """Where the last tile of any level ends, in bytes."""
    pages = [
        page
        for series in slide.ts_tifffile.series
        for level in series.levels
        for page in level.pages
        if page is not None
    ]
    return max(
        (offset + count for page in pages for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)),
        default=0,
    )
