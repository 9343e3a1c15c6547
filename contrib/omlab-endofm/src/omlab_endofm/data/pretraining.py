"""The data set `endoscopy-clips`: what Endo-FM's pre-training lists name, clips without targets.

root/train.csv          rows PATH,-1: video files
root/sun_seg.txt        rows FOLDER FIRST COUNT -1: frames FOLDER/img_00001.jpg and so on, counted from 1

Paths are relative to the list's folder, or to one of the two above it. Published clips are 5 s of 30 frames a second;
with `length` longer videos are cut so, and what is left at the end goes to the last clip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omlab import Sample
from omlab.card_schema import DatasetCard
from omlab.errors import InputError
from omlab.roles import Case
from omlab_endofm.data.clip_set import ClipSet, home_of
from omlab_endofm.data.polypdiag import lines_of
from omlab_video.clip import Clip
from omlab_video.io.decoding import read_video
from omlab_video.io.frame_folder import clip_of_pictures

VIDEOS, FRAMES = "train.csv", "sun_seg.txt"
RATE = 30.0
"""Frames a second of the listed folders."""


@dataclass(frozen=True, kw_only=True)
class ClipCase:
    """A clip without a target (`omlab.roles.Case`).

    Attributes:
        id: Its name.
        group: The video that it is of.
        paths: The video file, or the pictures of its frames.
        span: The frames of a video that it is, from the first to before the last; None: all.
    """

    id: str
    group: str
    paths: Sequence[Path]
    span: tuple[int, int] | None = None

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The file of the video, or those of its frames."""
        return {"clip": self.paths}

    def load(self) -> Sample:
        """The clip, lazily. Raises `InputError` that names a file."""
        return Sample(id=self.id, inputs={"clip": self._clip()}, target=None, group=self.group)

    def _clip(self) -> Clip:
        if self.paths[0].suffix == ".jpg":
            return clip_of_pictures(self.paths, rate=RATE, name=self.id)
        whole = read_video(self.paths[0])
        return whole if self.span is None else whole.part(*self.span)


def open_clips(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> EndoscopyClips:
    """Entry of the card."""
    return EndoscopyClips(root, length=settings["length"])


class EndoscopyClips(ClipSet):
    """The clips of both lists, of those that are there. `length`: frames of a clip; 0: as they are listed."""

    name = "Endo-FM's pre-training lists"

    def __init__(self, root: Path, *, length: int = 0) -> None:
        super().__init__(root)
        self.length = length

    @cached_property
    def home(self) -> Path:
        """The folder of the lists. Raises `InputError`."""
        return home_of(self.root, "pretrain", has=[VIDEOS, FRAMES], what="Endo-FM's pre-training data")

    @cached_property
    def parts(self) -> Mapping[str, Sequence[Case]]:
        """All are for training."""
        return {"train": [*self._videos(), *self._folders()]}

    def _videos(self) -> Iterator[ClipCase]:
        lines = lines_of(self.home / VIDEOS) if (self.home / VIDEOS).is_file() else []
        for path, id in _named([self._found(line.rpartition(",")[0] or line) for _, line in lines]):
            spans = cut(len(read_video(path)), length=self.length) if self.length else [None]
            for number, span in enumerate(spans):
                yield ClipCase(id=id if len(spans) == 1 else f"{id}-{number}", group=id, paths=[path], span=span)

    def _folders(self) -> Iterator[ClipCase]:
        lines = lines_of(self.home / FRAMES) if (self.home / FRAMES).is_file() else []
        for number, line in lines:
            *folder, first, count, _ = ["", "", "", *line.split()]
            if not (first.isdigit() and count.isdigit() and int(count) and folder[-1]):
                raise InputError(
                    f"{self.home / FRAMES}, line {number}: '{line}' is no folder with first frame, count and -1."
                )
            place = self._found(" ".join(folder).strip())
            for start, stop in cut(int(count), length=self.length or int(count)):
                frames = range(int(first) + start, int(first) + stop)
                yield ClipCase(
                    id=f"{place.name}-{frames[0]:05d}",
                    group=place.name,
                    paths=[place / f"img_{frame:05d}.jpg" for frame in frames],
                )

    def _found(self, name: str) -> Path:
        """Where a listed path leads: below the list's folder, or one of the two above it."""
        places = [folder / name.strip() for folder in (self.home, *self.home.absolute().parents[:2])]
        return next((place for place in places if place.exists()), places[0])


def cut(frames: int, *, length: int) -> list[tuple[int, int]]:
    """The clips of a video of so many frames, from the first frame of each to before its last.

    The last one takes what is left, so that it has `length` to 2 `length` - 1 frames; a shorter video is one clip.
    """
    count = max(1, frames // length)
    return [(number * length, (number + 1) * length if number + 1 < count else frames) for number in range(count)]


def _named(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Paths with ids: their stems, of those that are alike with the folder above."""
    different = list(dict.fromkeys(paths))
    times = Counter(path.stem for path in different)
    return [(path, path.stem if times[path.stem] == 1 else f"{path.parent.name}-{path.stem}") for path in different]
