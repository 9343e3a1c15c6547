"""Reading in spite of corrupt tiles: reopen, in parts, from another level, else white; what happened is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_slide.readers.handles import Handles
from omlab_slide.readers.reader import Reader

Pixels = NDArray[np.uint8]
Pair = tuple[int, int]

WHITE = -1
"""`Flaw.instead` where no level had the pixels."""
_OPAQUE = np.uint32(0xFF000000)
_PART = 256
"""Pixels along a side below which a region is not read in parts any more: that is what tiles have."""
_FINER = 16
"""How much finer a level may be that stands in: as many pixels squared are read for each."""


@dataclass(frozen=True)
class Flaw:
    """A part of a level that could not be decoded: where, why, and the level that stood in (-1: white)."""

    location: Pair
    level: int
    size: Pair
    reason: str
    instead: int

    def in_words(self) -> str:
        """Such as "(512, 0) of level 0 could not be read: white instead"."""
        stood_in = "white" if self.instead == WHITE else f"level {self.instead}"
        return f"{self.location} of level {self.level} could not be read ({self.reason}): {stood_in} instead"


def mended(handles: Handles, location: Pair, level: int, size: Pair) -> tuple[Pixels, list[Flaw]]:
    """Pixels (h, w, 3) of `size` (width, height), composited on white, and what could not be read as it stands."""
    try:
        return _read(handles.get(), location, level, size), []
    except InputError:
        pass  # the handle may have been poisoned by an earlier error
    try:
        return _read(handles.reopen(), location, level, size), []
    except InputError as error:
        reason = str(error)
    handles.reopen()
    if max(size) > _PART:
        return _in_parts(handles, location, level, size)
    for other in _others(handles.get(), level):
        try:
            found = _from_level(handles.get(), location, level, size, other=other)
        except InputError:
            handles.reopen()
            continue
        return found, [Flaw(location, level, size, reason, other)]
    white = np.full((size[1], size[0], 3), 255, np.uint8)
    return white, [Flaw(location, level, size, reason, WHITE)]


def composited(pixels: Pixels) -> Pixels:
    """RGB of what may have alpha, on white."""
    if pixels.shape[2] == 3:
        return pixels
    pixels = np.ascontiguousarray(pixels)
    if (pixels.view("<u4") >= _OPAQUE).all():  # asked of each tile: four times faster than of the channel
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8)
    weight = pixels[..., 3:].astype(np.uint16)
    mixed = (pixels[..., :3] * weight + 255 * (255 - weight) + 127) // 255
    return mixed.astype(np.uint8)


def _read(reader: Reader, location: Pair, level: int, size: Pair) -> Pixels:
    return composited(reader.read(location, level, size))


def _in_parts(handles: Handles, location: Pair, level: int, size: Pair) -> tuple[Pixels, list[Flaw]]:
    """Each quarter by itself, so that no more is lost than what is corrupt."""
    downsample = handles.get().levels[level].downsample
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    flaws: list[Flaw] = []
    for x0, x1 in _halves(size[0]):
        for y0, y1 in _halves(size[1]):
            corner = (location[0] + round(x0 * downsample), location[1] + round(y0 * downsample))
            part, found = mended(handles, corner, level, (x1 - x0, y1 - y0))
            pixels[y0:y1, x0:x1] = part
            flaws += found
    return pixels, flaws


def _halves(length: int) -> list[tuple[int, int]]:
    """Cut at a multiple of the part's side, so that parts and tiles agree where the region began at a tile."""
    if length <= _PART:
        return [(0, length)]
    middle = max(_PART, length // 2 // _PART * _PART)
    return [(0, middle), (middle, length)]


def _others(reader: Reader, level: int) -> Iterator[int]:
    """Finer levels, the nearest first, then coarser ones."""
    here = reader.levels[level].downsample
    finer = [n for n, other in enumerate(reader.levels) if here / _FINER <= other.downsample < here]
    coarser = [n for n, other in enumerate(reader.levels) if other.downsample > here]
    yield from sorted(finer, key=lambda n: -reader.levels[n].downsample)
    yield from sorted(coarser, key=lambda n: reader.levels[n].downsample)


def _from_level(reader: Reader, location: Pair, level: int, size: Pair, *, other: int) -> Pixels:
    """The region as another level shows it."""
    from omlab_slide.resizing import resized

    ratio = reader.levels[level].downsample / reader.levels[other].downsample
    wanted = (max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio)))
    return resized(_read(reader, location, other, wanted), size)
