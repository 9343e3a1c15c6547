"""Slides through OpenSlide: svs, ndpi, mrxs, scn, bif, vms, tiled TIFF, DICOM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_slide.readers.reader import Level

CACHE_BYTES = 256 << 20
"""Of decoded tiles, shared by all handles of a process: two rows of tiles of a slide 120,000 pixels wide.

Patches that cut through tiles then do not have them decoded again in the next row, or by the next thread.
"""
_SERIES = "dicom.SeriesInstanceUID"


class OpenSlideReader:
    """An open slide of OpenSlide."""

    name = "openslide"

    def __init__(self, slide: openslide.OpenSlide) -> None:
        self._slide = slide
        slide.set_cache(_cache())
        sizes, downsamples = slide.level_dimensions, slide.level_downsamples
        self.levels: Sequence[Level] = [
            Level((int(width), int(height)), float(downsample))
            for (width, height), downsample in zip(sizes, downsamples, strict=True)
        ]
        self.properties: Mapping[str, str] = dict(slide.properties)

    def read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels (h, w, 4) with alpha. Raises `InputError`; nothing can be read afterwards."""
        try:
            return np.asarray(self._slide.read_region(location, level, size))
        except openslide.OpenSlideError as error:
            raise InputError(_one_line(error)) from error

    def close(self) -> None:
        """Let go of the file."""
        self._slide.close()


@cache
def _cache() -> openslide.OpenSlideCache:
    return openslide.OpenSlideCache(CACHE_BYTES)


def open_reader(path: Path) -> OpenSlideReader:
    """The slide of a file, or of a folder of DICOM files. Raises `InputError`."""
    try:
        return OpenSlideReader(openslide.OpenSlide(_file_of(path) if path.is_dir() else path))
    except openslide.OpenSlideError as error:
        raise InputError(_one_line(error) or "no format that OpenSlide knows") from error


def _file_of(folder: Path) -> Path:
    """The file that stands for a folder: OpenSlide finds the others of its series beside it.

    Raises `InputError` where the folder holds no slide, or several: OpenSlide would show one of them.
    """
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if not file.is_file() or file.name.startswith(".") or openslide.OpenSlide.detect_format(file) is None:
            continue
        with openslide.OpenSlide(file) as slide:
            found.setdefault(slide.properties.get(_SERIES, file.name), file)
    if not found:
        raise InputError(f"no file of the folder {folder.name} is one of a slide")
    if len(found) > 1:
        names = ", ".join(file.name for file in list(found.values())[:3])
        raise InputError(f"the folder {folder.name} holds {len(found)} slides: name a file of each, such as {names}")
    return next(iter(found.values()))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
