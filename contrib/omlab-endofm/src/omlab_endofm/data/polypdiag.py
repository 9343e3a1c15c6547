"""The data set `polypdiag`: clips of colonoscopy and gastroscopy that show something abnormal, or do not.

root/splits/{train,val}.txt     lines NAME,LABEL: 0 normal, 1 abnormal
root/videos/NAME                or beside the lists' folder

The released `val` is what figures were published on, so it is `test` here; `val` is a share of the released `train`.
Nothing says whose a video is: each is a group of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omlab.card_schema import DatasetCard
from omlab.cases import PathCase, Source
from omlab.errors import InputError
from omlab.roles import Case
from omlab_data.files import some
from omlab_data.splits import Shares, split_by_group
from omlab_endofm.data.clip_set import ClipSet, home_of

CLASSES = {0: "normal", 1: "abnormal"}


@dataclass(frozen=True, kw_only=True)
class VideoCase(PathCase):
    """A video; `label` is its class."""

    label: str


def open_polypdiag(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> PolypDiag:
    """Entry of the card."""
    return PolypDiag(root, val=settings["val"], seed=settings["split_seed"])


class PolypDiag(ClipSet):
    """The videos of the released lists. `val` is the share of the training list for `val`, `seed` that of its draw."""

    name, target, task, classes = "PolypDiag", "classes", "classification", CLASSES

    def __init__(self, root: Path, *, val: float = 0.1, seed: int = 0) -> None:
        super().__init__(root)
        self.shares = Shares(test=0.0, val=val, seed=seed)

    @cached_property
    def home(self) -> Path:
        """The folder of the lists' folder. Raises `InputError`."""
        return home_of(self.root, "PolypDiag", has=["splits"], what="PolypDiag")

    @cached_property
    def lists(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Labels by name in the lists for training and for testing. Raises `InputError`."""
        lists = self.home / "splits"
        return read_labels(lists / "train.txt"), read_labels(lists / "val.txt")

    @cached_property
    def parts(self) -> Mapping[str, Sequence[Case]]:
        """As released, with `val` drawn from the training list."""
        train, test = self.lists
        sides = split_by_group(train, self.shares)
        parts: dict[str, list[Case]] = {"train": [], "val": [], "test": []}
        for (name, label), side in zip(train.items(), sides, strict=True):
            parts[side].append(self._case(name, label))
        parts["test"] = [self._case(name, label) for name, label in test.items()]
        return {split: cases for split, cases in parts.items() if cases}

    def leaks(self) -> Sequence[str]:
        """Names that are in both lists."""
        train, test = self.lists
        both = sorted(train.keys() & test.keys())
        if not both:
            return []
        return [f"The lists of PolypDiag have {len(both)} of {len(test)} test videos in training too: {some(both)}."]

    def _case(self, name: str, label: int) -> VideoCase:
        places = [self.home / folder / f"{name}{suffix}" for folder in ("videos", ".") for suffix in ("", ".mp4")]
        path = next((place for place in places if place.is_file()), places[0])
        probabilities = {klass: float(value == label) for value, klass in CLASSES.items()}
        return VideoCase(
            id=Path(name).stem,
            sources={"clip": Source(kind="clip", paths=(path,))},
            target=Source(kind="classes", value={"probabilities": probabilities}),
            group=Path(name).stem,
            label=CLASSES[label],
        )


def read_labels(path: Path) -> dict[str, int]:
    """Labels by name. Raises `InputError` that names the line."""
    labels: dict[str, int] = {}
    for number, line in lines_of(path):
        name, comma, label = (part.strip() for part in line.rpartition(","))
        if not comma or not label.isdigit() or int(label) not in CLASSES:
            raise InputError(
                f"{path}, line {number}: '{line}' is no name with 0 (normal) or 1 (abnormal) behind a comma."
            )
        if labels.setdefault(name, int(label)) != int(label):
            raise InputError(f"{path}, line {number}: '{name}' is listed as normal and as abnormal.")
    return labels


def lines_of(path: Path) -> list[tuple[int, str]]:
    """The lines of a list that say something, with their numbers. Raises `InputError` where there is none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list {path} cannot be read: {error}.") from error
    found = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise InputError(f"The list {path} is empty: it names no clip.")
    return found
