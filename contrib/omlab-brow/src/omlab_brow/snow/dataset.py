"""The data set `snow`: pictures and masks by the same name, wherever below the folder they lie.

SNOW_Dataset_20k/{Image,Mask}/seed0000.{png,mat}                       as the repository says
SNOW_Image/*.png, mask_0_5000/{mat,json,overlay}/*, ...                as the files of Zenodo are when unpacked
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from omlab import About, Sample
from omlab.card_schema import DatasetCard
from omlab.cases import PathCase, Source
from omlab.datasets import check_split
from omlab.digests import digest_of
from omlab.errors import InputError
from omlab.roles import Case
from omlab_brow.snow.masks import read_instances
from omlab_data.files import missing_files, size_of, some
from omlab_data.splits import Shares, split_by_group
from omlab_data.verify import look_through
from omlab_image import LabelMap2D

CLASSES = {1: "nucleus"}
SOURCE = "zenodo.org/records/6633721: SNOW_Image.zip and four of masks"
_OVERLAYS = "overlay"


@dataclass(frozen=True, kw_only=True)
class TileCase(PathCase):
    """A tile whose target is its mask: every nucleus is 1."""

    mask: Path

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The picture, and the mask."""
        return {**super().files, "target": (self.mask,)}

    def load(self) -> Sample:
        """Read both. Raises `InputError` that names the file."""
        instances = read_instances(self.mask)
        return replace(super().load(), target=LabelMap2D(array=(instances > 0).astype(np.uint8), names=CLASSES))


def open_snow(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> Snow:
    """Entry of the card."""
    return Snow(root, val=settings["val"], seed=settings["split_seed"])


class Snow:
    """Tiles with nuclei (`omlab.roles.Dataset`); none was published as a split, so one is drawn by the names.

    Args:
        root: Where its files are.
        val: Share of the tiles in `val`.
        seed: Of the split.
    """

    def __init__(self, root: Path, *, val: float, seed: int) -> None:
        self.root, self.shares = Path(root), Shares(test=0.0, val=val, seed=seed)

    @cached_property
    def found(self) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
        """Pictures and masks by their names. Raises `InputError` where there are none."""
        pictures: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(one for one in folders if one != _OVERLAYS)
            for name in names:
                path = Path(folder) / name
                kind = {".png": pictures, ".mat": masks}.get(path.suffix.lower())
                if kind is not None:
                    kind[path.stem] = path
        if not pictures or not masks:
            what = "pictures (.png)" if not pictures else "masks (.mat)"
            packed = " and unpack them" if any(self.root.glob("*.zip")) else ""
            raise InputError(f"There are no {what} of SNOW below {self.root}: get its files ({SOURCE}){packed}.")
        return pictures, masks

    @cached_property
    def parts(self) -> Mapping[str, Sequence[str]]:
        """Names of the tiles of each split that have a picture and a mask."""
        pictures, masks = self.found
        both = sorted(pictures.keys() & masks.keys(), key=lambda name: (len(name), name))
        sides = split_by_group(both, self.shares)
        parts = {split: [name for name, side in zip(both, sides, strict=True) if side == split] for split in set(sides)}
        return {split: parts[split] for split in ("train", "val") if split in parts}

    def splits(self) -> Sequence[str]:
        """`train`, and `val` where it has a tile."""
        return list(self.parts)

    def prepare(self) -> None:
        """Nothing is made. Raises `InputError` where no picture has a mask."""
        if not self.parts:
            raise InputError(f"No picture below {self.root} has a mask of the same name, such as seed0000.")

    def about(self, split: str) -> About:
        """Kinds and numbers, from the names of files."""
        names = self._part(split)
        return About(
            inputs={"image": "image"},
            target="labelmap-2d",
            task="segmentation",
            classes=CLASSES,
            groups=len(names),
            cases=len(names),
        )

    def digest(self, split: str) -> str:
        """Of names and sizes. Raises `InputError` where files are missing."""
        pictures, masks = self.found
        paths = [files[name] for name in self._part(split) for files in (pictures, masks)]
        sizes = [size_of(path) for path in paths]
        missing = [path for path, size in zip(paths, sizes, strict=True) if size is None]
        if missing:
            raise InputError(f"SNOW: {missing_files(missing)}")
        return digest_of([list(self._part(split)), sizes])

    def cases(self, split: str) -> Sequence[Case]:
        """In the order of their numbers."""
        pictures, masks = self.found
        return [
            TileCase(
                id=name,
                sources={"image": Source(kind="image", paths=(pictures[name],))},
                group=name,
                mask=masks[name],
            )
            for name in self._part(split)
        ]

    def verify(self) -> Sequence[str]:
        """What is wrong with names, pictures and masks, all read through."""
        pictures, masks = self.found
        problems = []
        for there, absent, suffix in ((pictures, masks, "mat"), (masks, pictures, "png")):
            lone = sorted(there.keys() - absent.keys())
            if lone:
                problems.append(f"SNOW: {len(lone)} files are missing: {some([f'{name}.{suffix}' for name in lone])}.")
        parts = {split: self.cases(split) for split in self.splits()}
        return [*problems, *look_through(parts, classes=CLASSES).problems]

    def _part(self, split: str) -> Sequence[str]:
        check_split(split, self.parts, of="SNOW")
        return self.parts[split]
