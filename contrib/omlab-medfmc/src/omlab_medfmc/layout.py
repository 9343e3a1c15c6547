"""Where the images and lists of a set lie: in the challenge's layout, its baseline's, or that of the paper's release.

challenge   MedFMC_train/chest/images/, MedFMC_train/chest/chest_train.csv, MedFMC_val/chest/...
baseline    data/MedFMC/chest/images/, lists beside it or in data_anns/MedFMC/chest/
paper       ChestDR/images/, ChestDR/fewshot-pool.txt, ChestDR/test.txt: names without a suffix
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omlab.errors import InputError
from omlab_medfmc.sets import RUNS, SETS, SHOTS, SUFFIXES, MedfmcSet, without_suffix

IMAGES = ("images", "image")
BASES = ("", "MedFMC_train", "MedFMC_val", "MedFMC", "data/MedFMC", "data")
LISTS = ("", "data_anns/MedFMC", "data_anns", "MedFMC", "data/MedFMC")
SOURCES = "figshare collection 6476047, OpenDataLab, or medfm2023.grand-challenge.org"
UPSTREAM = "github.com/openmedlab/MedFM, data_anns/MedFMC"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What was found of a set.

    Attributes:
        images: The folders of images.
        lists: Lists by their names without a suffix, such as `trainval` or `chest_1-shot_train_exp1`.
        files: Names of the files in each folder of images.
    """

    images: Sequence[Path]
    lists: Mapping[str, Path]
    files: Mapping[Path, frozenset[str]]

    def image(self, name: str) -> Path:
        """The file of a name of a list, which may lack a suffix; one that is not there where it should be."""
        for folder in self.images:
            names = self.files[folder]
            if name in names:
                return folder / name
            for suffix in (".jpg", ".png", ".jpeg"):
                if name + suffix in names:
                    return folder / (name + suffix)
        if name.lower().endswith(SUFFIXES):
            return self.images[0] / name
        others = (Path(other).suffix for other in sorted(self.files[self.images[0]]) if other.endswith(SUFFIXES))
        return self.images[0] / (name + next(others, SUFFIXES[0]))


def find_layout(root: Path, one: MedfmcSet, *, lists: Path | None = None) -> Layout:
    """What there is of a set at or below `root`; `lists` is a further folder where its lists may be.

    Raises:
        InputError: There are no images, or no lists of them; says where to get them and how to put them.
    """
    homes = list(_homes(root, one))
    images = [folder for home in homes for name in IMAGES if (folder := home / name).is_dir()]
    if not images:
        short, long = one.folders
        challenge = f", {root / 'MedFMC_train' / short / 'images'}" if one.published else ""
        raise InputError(
            f"There are no images of MedFMC's {long} in {root}: get them ({SOURCES}; a licence is to be agreed to) and "
            f"put them into {root / short / 'images'} or {root / long / 'images'}{challenge}, with their lists beside."
        )
    places = [*homes, *_list_places(root, one), *([] if lists is None else _list_places(lists, one))]
    found = {path.stem: path for place in reversed(places) for path in _lists_in(place, one)}
    if not found:
        wanted = "trainval.txt, train_20.txt, val_20.txt, test_WithLabel.txt" if one.published else "fewshot-pool.txt"
        raise InputError(
            f"{images[0]} has images of MedFMC's {one.folders[1]}, but no list lies beside it: put {wanted} "
            f"({UPSTREAM if one.published else 'of the release'}) into {images[0].parent}, or name their folder with "
            "the setting 'lists'."
        )
    files = {folder: frozenset(entry.name for entry in os.scandir(folder)) for folder in images}
    return Layout(images=images, lists=found, files=files)


def few_shot_list(one: MedfmcSet, *, shots: int, exp: int, split: str) -> str:
    """What a published few-shot list is called, without its suffix."""
    return f"{one.name}_{shots}-shot_{split}_exp{exp}"


def _homes(root: Path, one: MedfmcSet) -> Iterator[Path]:
    """The folders that may hold the set's images: those with its name, else `root` where it is not another set's."""
    named = [home for base in BASES for name in one.folders if (home := root / base / name).is_dir()]
    others = {name for other in SETS.values() if other is not one for name in other.folders}
    if not named and root.name not in others:
        named = [root]
    yield from dict.fromkeys(named)


def _list_places(root: Path, one: MedfmcSet) -> Iterator[Path]:
    for base in LISTS:
        for name in one.folders:
            yield root / base / name
    yield root
    yield root / "MedFMC_train"
    yield root / "MedFMC_val"


def _lists_in(place: Path, one: MedfmcSet) -> Iterator[Path]:
    """Its lists in a folder; such as lie in a folder of this set, or have the set in their name."""
    if not place.is_dir():
        return
    plain = {*one.counts, "train", "val"}
    tables = {f"{name}_{split}" for name in one.folders for split in ("train", "val", "test")}
    few = {
        few_shot_list(one, shots=shots, exp=exp, split=split)
        for shots in SHOTS
        for exp in RUNS
        for split in ("train", "val")
    }
    is_home = place.name in one.folders or any((place / name).is_dir() for name in IMAGES)
    for path in sorted(place.iterdir()):
        stem = without_suffix(path.stem)
        if path.suffix.lower() not in (".txt", ".csv") or not path.is_file():
            continue
        if stem in few or stem in tables or (is_home and stem in plain):
            yield path
