"""The data set `kumc`: colonoscopies with boxes of adenomatous and hyperplastic polyps in each frame.

root/{train,val,test}2019/Image/VIDEO/N.jpg          as released (PolypsSet), or as Endo-FM copied it (processed)
root/{train,val,test}2019/Annotation/VIDEO/N.xml     boxes as Pascal VOC writes them

Frames are in the order of their numbers. A video is a group; which are of one patient was not published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omlab.card_schema import DatasetCard
from omlab.errors import InputError
from omlab.roles import Case
from omlab_data.files import some
from omlab_endofm.data.clip_set import ClipSet, FramesCase, home_of
from omlab_endofm.data.voc import read_boxes
from omlab_video.clip import Clip
from omlab_video.io.frame_folder import SUFFIXES, natural
from omlab_video.over_time import BoxesClip

CLASSES = {0: "adenomatous", 1: "hyperplastic"}
SPLITS = ("train", "val", "test")
_FOLDERS = ("PolypsSet", "processed", "KUMC", "KUMC/PolypsSet", "KUMC/processed")


@dataclass(frozen=True, kw_only=True)
class BoxedClip(FramesCase):
    """A clip with boxes for each frame."""

    def read_target(self, clip: Clip) -> BoxesClip:
        """Where polyps are. Raises `InputError` for an unknown class, or a box outside the frame."""
        size = clip.shape[1:]
        return BoxesClip(frames=[read_boxes(path, classes=CLASSES.values(), size=size) for path in self.annotations])


def open_kumc(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> Kumc:
    """Entry of the card."""
    return Kumc(root)


class Kumc(ClipSet):
    """The videos of each split's folder."""

    name, target, task, classes = "KUMC", "boxes-clip", "detection", CLASSES

    @cached_property
    def home(self) -> Path:
        """The folder of the splits' folders. Raises `InputError`."""
        return home_of(self.root, *_FOLDERS, has=[f"{split}2019" for split in SPLITS], what="KUMC")

    @cached_property
    def parts(self) -> Mapping[str, Sequence[Case]]:
        """As the folders have them. Raises `InputError` where they are laid out otherwise."""
        parts = {split: self._videos(split) for split in SPLITS if (self.home / f"{split}2019").is_dir()}
        return {split: cases for split, cases in parts.items() if cases}

    def _videos(self, split: str) -> list[BoxedClip]:
        images = self.home / f"{split}2019" / "Image"
        if not images.is_dir():
            raise InputError(f"{images.parent} is not laid out as KUMC: it has no folder 'Image' beside 'Annotation'.")
        entries = sorted((path for path in images.iterdir() if not path.name.startswith(".")), key=natural)
        if entries and not any(path.is_dir() for path in entries):
            names = some([path.name for path in entries])
            raise InputError(f"{images} has no folder of frames for each video, as KUMC's has, but {names}.")
        return [self._case(split, video) for video in entries if video.is_dir()]

    def _case(self, split: str, video: Path) -> BoxedClip:
        pictures = {path.stem: path for path in video.iterdir() if path.suffix.lower() in SUFFIXES}
        boxes = video.parents[1] / "Annotation" / video.name
        for path in boxes.glob("*.xml"):  # a frame that is missing is told of when it is read
            pictures.setdefault(path.stem, video / f"{path.stem}.jpg")
        order = sorted(pictures.values(), key=natural)
        return BoxedClip(
            id=video.name,
            group=f"{split} {video.name}",
            pictures=order,
            annotations=[boxes / f"{path.stem}.xml" for path in order],
        )
