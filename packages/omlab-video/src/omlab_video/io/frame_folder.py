"""The formats `frames` (a folder of pictures is a clip) and `mask-frames` (a folder of label maps over time)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np

from omlab.errors import InputError, OutputError
from omlab.files import writing
from omlab.payloads import Payload
from omlab_image.image import Image, LabelMap2D
from omlab_image.io.picture import Picture
from omlab_video.clip import Clip, Frame
from omlab_video.over_time import LabelMapClip

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, kw_only=True)
class PictureFrames:
    """Frames that are pictures of one size."""

    paths: Sequence[Path]
    size: tuple[int, int]
    nbytes: int = 0

    def stream(self, indices: Sequence[int]) -> Iterator[Frame]:
        """The frames of these indices. Raises `InputError` that names the picture."""
        for index in indices:
            pixels = _picture(self.paths[index]).rgb()
            _check_size(self.paths[index], pixels.shape[:2], first=self.paths[0], size_of_first=self.size)
            yield pixels


class FrameFolder:
    """Reads a folder of pictures as a clip, in the order of the numbers in their names."""

    def read(self, path: Path, *, kind: str, rate: float) -> Clip:
        """The clip of a folder, `rate` frames a second. Raises `InputError`, also where a frame is missing."""
        if kind != Clip.kind:
            raise InputError(f"{path}: a folder of frames holds a clip, not a '{kind}'.")
        return clip_of_pictures(pictures(path), rate=rate, name=str(path))


class MaskFrames:
    """Reads and writes masks over time as a folder of PNG files, a frame each, with palette and names."""

    def read(self, path: Path, *, kind: str) -> LabelMapClip:
        """The masks of a folder, in the order of the numbers in their names. Raises `InputError`."""
        if kind != LabelMapClip.kind:
            raise InputError(f"{path}: a folder of masks holds a {LabelMapClip.kind}, not a '{kind}'.")
        paths, arrays = pictures(path), []
        names: dict[int, str] = {}
        for one in paths:
            found = Picture().read(one, kind=LabelMap2D.kind)
            assert isinstance(found, LabelMap2D)
            if found.array.max() > 255:
                raise InputError(f"{one} has the value {found.array.max()}, but masks over time go up to 255.")
            arrays.append(found.array.astype(np.uint8))
            names |= dict(found.names)
            _check_size(one, found.shape, first=paths[0], size_of_first=arrays[0].shape)
        return LabelMapClip(array=np.stack(arrays), names=names)

    def write(self, payload: Payload, path: Path, *, inputs: Mapping[str, Payload] = MappingProxyType({})) -> None:
        """Write `path` as a folder of `000000.png` and so on. Raises `OutputError`."""
        if not isinstance(payload, LabelMapClip):
            raise OutputError(f"{path}: a folder of masks holds a {LabelMapClip.kind}, not a '{payload.kind}'.")
        with writing(path.name, path.parent):
            path.mkdir()
            for index in range(len(payload.array)):
                Picture().write(payload.frame(index), path / f"{index:06d}.png")


def clip_of_pictures(paths: Sequence[Path], *, rate: float, name: str) -> Clip:
    """The clip of pictures in this order, `rate` frames a second; the first is read. Raises `InputError`."""
    if not paths:
        raise InputError(f"{name} has no frame: a clip has at least one.")
    frames = PictureFrames(paths=tuple(paths), size=_picture(paths[0]).shape)
    return Clip(frames=frames, times=np.arange(len(paths)) / rate, name=name)


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order: frame2 before frame10.

    Raises `InputError` where there are none, or one is missing: names end in numbers that rise by the same step.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of frames: name the folder that holds the pictures.")
    paths = [one for one in folder.iterdir() if one.suffix.lower() in SUFFIXES and not one.name.startswith(".")]
    if not paths:
        raise InputError(f"{folder} holds no frames: pictures are {', '.join(SUFFIXES)}.")
    paths.sort(key=natural)
    _check_gaps(folder, paths)
    return paths


def natural(path: Path) -> list[tuple[int, int, str]]:
    """What names are ordered by: their numbers as numbers, the rest as text."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _check_gaps(folder: Path, paths: Sequence[Path]) -> None:
    found = [re.search(r"(\d+)\D*$", path.stem) for path in paths]
    numbers = [int(match[1]) for match in found if match is not None]
    if len(numbers) != len(paths) or len(paths) < 3:
        return
    steps = [after - before for before, after in pairwise(numbers)]
    usual = Counter(steps).most_common(1)[0][0]
    for (before, after), step in zip(pairwise(paths), steps, strict=True):
        if step == 0:
            raise InputError(f"{folder} holds a frame twice: {before.name} and {after.name}; keep one of them.")
        if step != usual:
            missing = step // usual - 1 if usual > 0 and step > usual else "some"
            raise InputError(
                f"{folder} has a gap: between {before.name} and {after.name} {missing} "
                "frames are missing; add them, or make a folder of each part."
            )


def _check_size(path: Path, size: Sequence[int], *, first: Path, size_of_first: Sequence[int]) -> None:
    if tuple(size) != tuple(size_of_first):
        raise InputError(
            f"{path} has {size[0]} x {size[1]} pixels, {first.name} {size_of_first[0]} x {size_of_first[1]}: frames "
            "of a clip have one size."
        )


def _picture(path: Path) -> Image:
    found = Picture().read(path, kind=Image.kind)
    assert isinstance(found, Image)
    return found
