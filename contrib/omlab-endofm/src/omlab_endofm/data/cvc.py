"""The data set `cvc`: short clips of CVC-ClinicDB's 612 frames with masks of polyps, as Endo-FM read them.

root/videolist.txt                                   lines NAME FIRST COUNT; the first 20 were for training
root/CVC-ClinicDB/{Original,Ground Truth}/N.tif      a mask is 255 where there is a polyp

The released list has most of its test clips in training too. So by default (`lists = "disjoint"`) each clip is there
once, clips that share frames are one video, and videos are split anew; `released` is the list as it is. Which videos
are of one patient was not published.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from omlab.card_schema import DatasetCard
from omlab.errors import InputError, OmlabWarning
from omlab.files import writing
from omlab.roles import Case
from omlab_data.files import some
from omlab_data.splits import Shares, split_by_group
from omlab_endofm.data.clip_set import ClipSet, FramesCase, home_of
from omlab_endofm.data.polypdiag import lines_of
from omlab_image.image import Image
from omlab_image.io.picture import Picture
from omlab_video.clip import Clip
from omlab_video.over_time import LabelMapClip

CLASSES = {1: "polyp"}
LIST, FRAMES = "videolist.txt", "CVC-ClinicDB"
FOR_TRAINING = 20
"""Lines at the beginning of the released list that were trained on."""
_POLYP = 255


@dataclass(frozen=True, kw_only=True, order=True)
class Stretch:
    """A clip: frames from `first` to before `end`."""

    first: int
    end: int

    @property
    def id(self) -> str:
        """Such as 001-025."""
        return f"{self.first:03d}-{self.end - 1:03d}"

    def meets(self, other: Stretch) -> bool:
        """Whether both have a frame."""
        return self.first < other.end and other.first < self.end


@dataclass(frozen=True, kw_only=True)
class MaskedClip(FramesCase):
    """A clip with a mask for each frame."""

    def read_target(self, clip: Clip) -> LabelMapClip:
        """Where polyps are. Raises `InputError` where a mask has other pixels than its frame."""
        masks = []
        for path in self.annotations:
            mask = Picture().read(path, kind=Image.kind)
            assert isinstance(mask, Image)
            if mask.shape != clip.shape[1:]:
                raise InputError(f"{path} has {mask.shape[0]} x {mask.shape[1]} pixels, its frame {clip.shape[1:]}.")
            masks.append((mask.rgb()[..., 0] == _POLYP).astype(np.uint8))
        return LabelMapClip(array=np.stack(masks), names=CLASSES)


def open_cvc(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> Cvc:
    """Entry of the card."""
    shares = Shares(test=settings["test"], val=settings["val"], seed=settings["split_seed"])
    return Cvc(root, shares=shares, released=settings["lists"] == "released")


class Cvc(ClipSet):
    """Clips of CVC-ClinicDB.

    Args:
        root: Where the list is.
        shares: Of the videos, for `val` and `test`.
        released: Whether the released list is taken as it is.
    """

    name, target, task, classes = "CVC", "labelmap-clip", "segmentation", CLASSES

    def __init__(self, root: Path, *, shares: Shares, released: bool = False) -> None:
        super().__init__(root)
        self.shares, self.released = shares, released

    @cached_property
    def home(self) -> Path:
        """The folder of the list. Raises `InputError`."""
        return home_of(self.root, "CVC-ClinicVideoDB", "CVC-12k/CVC-ClinicVideoDB", has=[LIST], what="CVC for Endo-FM")

    @cached_property
    def lists(self) -> tuple[Sequence[Stretch], Sequence[Stretch]]:
        """The clips for training and for testing, as released. Raises `InputError` where one has none."""
        clips = read_clips(self.home / LIST)
        if len(clips) <= FOR_TRAINING:
            raise InputError(
                f"{self.home / LIST} lists {len(clips)} clips, of which {FOR_TRAINING} are for training: none is left "
                "for testing."
            )
        return clips[:FOR_TRAINING], clips[FOR_TRAINING:]

    @cached_property
    def videos(self) -> Mapping[Stretch, str]:
        """Whose each clip is: clips that share frames are of one video, which is called as its first clip."""
        train, test = self.lists
        videos: dict[Stretch, str] = {}
        end = 0
        for clip in sorted({*train, *test}):
            videos[clip] = next(reversed(videos.values())) if clip.first < end else clip.id
            end = max(end, clip.end)
        return videos

    @cached_property
    def parts(self) -> Mapping[str, Sequence[Case]]:
        """Split by video, or as released."""
        if self.released:
            chosen = {split: dict.fromkeys(clips) for split, clips in zip(("train", "test"), self.lists, strict=True)}
        else:
            sides = split_by_group(self.videos.values(), self.shares)
            pairs = [*zip(self.videos, sides, strict=True)]
            chosen = {
                split: dict.fromkeys(clip for clip, side in pairs if side == split)
                for split in ("train", "val", "test")
            }
        return {split: [self._case(clip) for clip in clips] for split, clips in chosen.items() if clips}

    def prepare(self) -> None:
        """Nothing is made; warns where the released lists leak and are used. Raises `InputError`."""
        super().prepare()
        if self.released:
            for sentence in self.leaks():
                warnings.warn(sentence, OmlabWarning, stacklevel=2)

    def leaks(self) -> Sequence[str]:
        """Test clips of the released list that share frames with training clips."""
        train, test = self.lists
        shared = [clip for clip in test if any(clip.meets(other) for other in train)]
        if not shared:
            return []
        split = "as it is here" if self.released else "split anew here"
        return [
            f"{self.home / LIST} has {len(shared)} of {len(test)} test clips in training too (frames "
            f"{some([clip.id for clip in shared])}): a Dice that was measured on it is no target. It is {split}."
        ]

    def report(self, folder: Path) -> Sequence[Path]:
        """A page about the data, and `list.csv`: each clip of the released list, and what it shares with others."""
        pages = super().report(folder)
        where = {case.id: split for split, cases in self.parts.items() for case in cases}
        train, test = self.lists
        rows = ["line,frames,released_for,shares_frames_with_lines,video,split_here"]
        clips = [*((clip, "training") for clip in train), *((clip, "testing") for clip in test)]
        for number, (clip, use) in enumerate(clips, start=1):
            others = [str(n) for n, (other, _) in enumerate(clips, start=1) if n != number and clip.meets(other)]
            rows.append(f"{number},{clip.id},{use},{' '.join(others)},{self.videos[clip]},{where[clip.id]}")
        with writing("The list", folder):
            (folder / "list.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
        return [*pages, folder / "list.csv"]

    def _case(self, clip: Stretch) -> MaskedClip:
        pictures, masks = (
            [self.home / FRAMES / folder / f"{number}.tif" for number in range(clip.first, clip.end)]
            for folder in ("Original", "Ground Truth")
        )
        return MaskedClip(id=clip.id, group=self.videos[clip], pictures=pictures, annotations=masks)


def read_clips(path: Path) -> list[Stretch]:
    """The clips of a list. Raises `InputError` that names the line."""
    clips = []
    for number, line in lines_of(path):
        *_, first, count = ["", "", *line.split()]
        if not (first.isdigit() and count.isdigit() and int(count)):
            raise InputError(
                f"{path}, line {number}: '{line}' is no name with the first frame and their number behind it."
            )
        clips.append(Stretch(first=int(first), end=int(first) + int(count)))
    return clips
