"""Slides through OpenSlide: svs, ndpi, mrxs, scn, bif, vms, tiled TIFF, DICOM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_slide.readers.reader import Level


class OpenSlideReader:
    """An open slide of OpenSlide."""

    name = "openslide"

    def __init__(self, slide: openslide.OpenSlide) -> None:
        self._slide = slide
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


def open_reader(path: Path) -> OpenSlideReader:
    """The slide of a file, or of a folder of DICOM files. Raises `InputError`."""
    try:
        return OpenSlideReader(openslide.OpenSlide(_file_of(path)))
    except openslide.OpenSlideError as error:
        raise InputError(_one_line(error) or "no format that OpenSlide knows") from error


def _file_of(path: Path) -> Path:
    """The file that stands for a folder: OpenSlide finds the other files of a DICOM slide beside it."""
    if not path.is_dir():
        return path
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    found = next((file for file in files if openslide.OpenSlide.detect_format(file) is not None), None)
    if found is None:
        raise InputError(f"no file of the folder {path.name} is one of a slide")
    return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
