"""The data set `patchgastric`: the table and the patches as Zenodo has them, split as CITE splits them.

root/captions.csv, root/patches_captions/*.jpg          as downloaded and unpacked; upstream has both in `data/`
root/gastric_cls3_ann/{train_all_0.2,val_0.8}.txt       lists that upstream's script wrote: taken where they are there
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omlab import About
from omlab.card_schema import DatasetCard
from omlab.cases import PathCase, Source
from omlab.datasets import check_split
from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, UsageError
from omlab.roles import Case
from omlab_cite.gastric.lists import (
    CLASSES,
    Slide,
    Split,
    drawn_shots,
    few_shots,
    read_list,
    read_table,
    slide_of,
    split,
)
from omlab_data.files import missing_files, size_of, some
from omlab_data.verify import look_through

TABLE, PATCHES, LISTS = "captions.csv", "patches_captions", "gastric_cls3_ann"
SOURCE = "zenodo.org/records/6550925: captions.csv and patches_captions.zip"
PUBLISHED_TABLE = "d2c9677f40aef250a45bc64facccf070f77fe2b22908648b2ceb3657a182be04"
PUBLISHED_PATCHES = 262777
"""How many patches there are beside the table with that sha256, all subtypes counted."""
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, kw_only=True)
class PatchCase(PathCase):
    """A patch; `label` is its class."""

    label: str


def open_patchgastric(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> PatchGastric:
    """Entry of the card."""
    return PatchGastric(root, share=settings["share"], seed=settings["split_seed"])


class PatchGastric:
    """The patches of three classes (`omlab.roles.Dataset`); groups are slides, for patients were not published.

    Args:
        root: Where its files are.
        share: Of each class's slides, for `test`.
        seed: Of the split.
        few: Of how many slides of each class `train` is, and the seed; None: of all.
    """

    def __init__(self, root: Path, *, share: float, seed: int, few: tuple[int, int] | None = None) -> None:
        self.root, self.share, self.seed, self.few = Path(root), share, seed, few

    @cached_property
    def home(self) -> Path:
        """The folder of the table. Raises `InputError` that says where to get it."""
        for folder in (self.root, self.root / "data"):
            if (folder / TABLE).is_file():
                return folder
        raise InputError(
            f"There is no {TABLE} of PatchGastricADC22 in {self.root}: get it ({SOURCE}) and unpack it there."
        )

    @cached_property
    def slides(self) -> Mapping[str, Slide]:
        """The slides of the table by their ids. Raises `InputError`."""
        return {slide.id: slide for slide in read_table(self.home / TABLE)}

    @cached_property
    def listing(self) -> Sequence[str]:
        """Names of all patches, in order. Raises `InputError` where there are none."""
        folder = self.home / PATCHES
        if not folder.is_dir():
            is_packed = (self.home / f"{PATCHES}.zip").is_file()
            hint = f"unpack {PATCHES}.zip there" if is_packed else f"get them ({SOURCE})"
            raise InputError(f"There is no folder {folder} of patches: {hint}.")
        found = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(_SUFFIXES))
        if not found:
            raise InputError(f"The folder {folder} has no patches.")
        return found

    @cached_property
    def parts(self) -> Split:
        """The patches of `train` and `test`. Raises `InputError` or `UsageError`."""
        whole = self._listed() or split(list(self.slides.values()), self.listing, share=self.share, seed=self.seed)
        if self.few is None:
            return whole
        shots, seed = self.few
        for place, name in enumerate(CLASSES):
            there = len({slide_of(patch) for patch, label in whole.train if label == place})
            if there < shots:
                raise UsageError(
                    f"'{name}' has {there} training slides in {self.root}, but {shots} shots were asked for."
                )
        drawn = few_shots(whole.train, shots, seed=0) if seed == 0 else drawn_shots(whole.train, shots, seed=seed)
        return Split(train=drawn, test=whole.test)

    def splits(self) -> Sequence[str]:
        """`train` and, where it has a patch, `test`."""
        return ["train", *(["test"] if self.parts.test else [])]

    def prepare(self) -> None:
        """Nothing is made. Raises `InputError` where files are not there, or are none of these."""
        if not self.parts.train:
            raise InputError(
                f"No patch in {self.home / PATCHES} is of a training slide of {self.home / TABLE}: names are the "
                "slide's id, an underscore and more."
            )

    def episode(self, shots: int, seed: int) -> PatchGastric | None:
        """All patches of so many slides of each class (`omlab.abilities.HasEpisodes`).

        Seed 0 is CITE's list: the slides that have the most patches; other seeds draw slides of any size.
        """
        if self.few is not None:
            return None
        return PatchGastric(self.root, share=self.share, seed=self.seed, few=(shots, seed))

    def about(self, split: str) -> About:
        """Kinds, classes and numbers, from the table and the names of files."""
        patches = self._part(split)
        counts = Counter(label for _, label in patches)
        return About(
            inputs={"image": "image"},
            target="classes",
            task="classification",
            classes=dict(enumerate(CLASSES)),
            groups=len({slide_of(name) for name, _ in patches}),
            cases=len(patches),
            facts={"image": {"by_class": {name: counts[place] for place, name in enumerate(CLASSES)}}},
        )

    def digest(self, split: str) -> str:
        """Of names, classes and sizes of files. Raises `InputError` where files are missing."""
        patches = self._part(split)
        paths = [self.home / PATCHES / name for name, _ in patches]
        sizes = [size_of(path) for path in paths]
        missing = [path for path, size in zip(paths, sizes, strict=True) if size is None]
        if missing:
            raise InputError(f"PatchGastricADC22: {missing_files(missing)}")
        return digest_of([[list(patch) for patch in patches], sizes])

    def cases(self, split: str) -> Sequence[Case]:
        """In the order of the list."""
        return [self._case(name, label) for name, label in self._part(split)]

    def verify(self) -> Sequence[str]:
        """What is wrong with the table, the names and the patches, all read through."""
        present = {slide_of(name) for name in self.listing}
        unknown = sorted(present - self.slides.keys())
        without = sorted(self.slides.keys() - present)
        problems = []
        if unknown:
            problems.append(f"Slides with patches, but without a row in {TABLE}: {some(unknown)} ({len(unknown)}).")
        if without:
            problems.append(f"Slides of {TABLE} without a patch: {some(without)} ({len(without)}).")
        if len(self.listing) != PUBLISHED_PATCHES and file_digest(self.home / TABLE) == PUBLISHED_TABLE:
            problems.append(
                f"{self.home / PATCHES} has {len(self.listing)} patches; {PUBLISHED_PATCHES} were published."
            )
        parts = {split: self.cases(split) for split in self.splits()}
        return [*problems, *look_through(parts, classes=dict(enumerate(CLASSES))).problems]

    def _listed(self) -> Split | None:
        """As upstream's script wrote it for this share; None where its lists are not there."""
        folder = self.home / LISTS
        names = f"train_all_{1 - self.share:.1f}.txt", f"val_{self.share:.1f}.txt"
        if self.seed or not all((folder / name).is_file() for name in names):
            return None
        train, test = (read_list(folder / name) for name in names)
        both = sorted({slide_of(name) for name, _ in train} & {slide_of(name) for name, _ in test})
        if both:
            raise InputError(f"The lists in {folder} have slides for training and for testing: {some(both)}.")
        return Split(train=train, test=test)

    def _part(self, split: str) -> Sequence[tuple[str, int]]:
        check_split(split, self.splits(), of="PatchGastricADC22")
        return self.parts.train if split == "train" else self.parts.test

    def _case(self, name: str, label: int) -> PatchCase:
        slide = self.slides.get(slide_of(name))
        told = {"subtype": slide.subtype, "caption": slide.caption} if slide is not None else {}
        probabilities = {klass: float(place == label) for place, klass in enumerate(CLASSES)}
        return PatchCase(
            id=Path(name).stem,
            sources={"image": Source(kind="image", paths=(self.home / PATCHES / name,))},
            target=Source(kind="classes", value={"probabilities": probabilities}),
            group=slide_of(name),
            meta={"slide": slide_of(name), **told},
            label=CLASSES[label],
        )
