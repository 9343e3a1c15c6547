"""The data set `nnunet`: a folder in nnU-Net's layout (version 1 or 2) or the Medical Segmentation Decathlon's.

Where there are `imagesTs` with `labelsTs`, they are the split `test`; without labels they are `unlabelled`. `train`
and `val` are those of `splits_final.json` (setting `fold`) where the folder has it, else a split of ours.
"""

from __future__ import annotations

import json
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
from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, SettingsError, UsageError
from omlab.roles import Case
from omlab.suggest import did_you_mean
from omlab_data.files import missing_files, size_of, some
from omlab_data.splits import Shares, group_pattern, split_by_group, torn_groups
from omlab_data.verify import Findings, look_through, some_cases
from omlab_volume.data.nnunet_files import Files, doubled, find_cases, has_part, stray_files
from omlab_volume.data.nnunet_json import NAME, Description, read_description
from omlab_volume.volume import LabelMap, Volume

INPUT = "volume"
SPLITS_FILE = "splits_final.json"
UNLABELLED = "unlabelled"


def open_nnunet(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> NnunetDataset:
    """Entry of the card; `root` is the folder that holds `dataset.json`."""
    shares = Shares(**{name: settings[name] for name in ("test", "val", "folds", "fold", "seed")})
    return NnunetDataset(root, shares=shares, group=settings["group"])


@dataclass(frozen=True, kw_only=True)
class NnunetCase(PathCase):
    """A case that is read as `dataset.json` says.

    Attributes:
        channels: Names of the channels.
        classes: Names of the values of its label map.
        ignored: Further values that it may have.
    """

    channels: tuple[str, ...]
    classes: Mapping[int, str]
    ignored: tuple[int, ...] = ()

    def load(self) -> Sample:
        """Read it. Raises `InputError` for a number of channels or a value that `dataset.json` does not have."""
        sample = super().load()
        volume, target = sample.inputs[INPUT], sample.target
        assert isinstance(volume, Volume)
        if volume.channels != len(self.channels):
            raise InputError(
                f"{self.files[INPUT][0]} has {volume.channels} channels, but {NAME} names {len(self.channels)}: "
                f"{', '.join(self.channels)}."
            )
        if [name.upper() for name in self.channels] == ["CT"]:
            volume = replace(volume, intensity="hu")
        if isinstance(target, LabelMap):
            unknown = sorted({int(value) for value in np.unique(target.array)} - {0, *self.classes, *self.ignored})
            if unknown:
                raise InputError(f"{self.files['target'][0]} has the value {unknown[0]}, which {NAME} does not name.")
            target = target.named(self.classes)
        return replace(sample, inputs={INPUT: volume}, target=target, ignored=self.ignored)


class NnunetDataset:
    """A data set in nnU-Net's layout (`omlab.roles.Dataset`)."""

    def __init__(self, root: Path, *, shares: Shares, group: str = "") -> None:
        self.root = Path(root)
        self._shares = shares
        self._group = group_pattern(group)
        self._findings: Findings | None = None

    @cached_property
    def description(self) -> Description:
        """What `dataset.json` says. Raises `UsageError` or `InputError`."""
        return read_description(self.root)

    def splits(self) -> Sequence[str]:
        """Of `train`, `val`, `test` and `unlabelled` those that there are."""
        return list(self._parts)

    def prepare(self) -> None:
        """Nothing is made. Raises `InputError` where files are missing, or a patient lies in several splits."""
        problems = [*self._missing(), *self._torn()]
        if problems:
            raise InputError(problems[0])

    def about(self, split: str) -> About:
        """As `dataset.json` says."""
        description, cases = self.description, self._part(split)
        has_targets = any(case.target is not None for case in cases)
        return About(
            inputs={INPUT: "volume"},
            target="labelmap" if has_targets else "",
            task="segmentation" if has_targets else "",
            classes=dict(description.classes),
            channels={INPUT: description.channels},
            regions=dict(description.regions),
            ignored=description.ignored,
            groups=len({case.group for case in cases}) if self._group else None,
            cases=len(cases),
        )

    def digest(self, split: str) -> str:
        """Of `dataset.json`, and of the names and sizes of the split's files."""
        files = [
            [case.id, case.group, [[path.name, size_of(path)] for paths in case.files.values() for path in paths]]
            for case in self._part(split)
        ]
        return digest_of([file_digest(self.root / NAME), files])

    def cases(self, split: str) -> Sequence[Case]:
        """The cases, ordered by id."""
        self.prepare()
        return self._part(split)

    def verify(self) -> Sequence[str]:
        """What is wrong with `dataset.json`, the folders, and the files, read through."""
        return [*self._unlike_description(), *self.findings().problems]

    def findings(self) -> Findings:
        """What reading everything found; done once."""
        if self._findings is None:
            ignored = {value: f"label {value}" for value in self.description.ignored}
            self._findings = look_through(self._parts, classes={**self.description.classes, **ignored})
        return self._findings

    def some_cases(self) -> Sequence[tuple[str, Case]]:
        """A few cases with their splits."""
        return some_cases(self._parts)

    def report(self, folder: Path) -> Sequence[Path]:
        """A page about the data, with pictures of a few cases."""
        from omlab_data.report import write_report

        return write_report(self, folder, title=self.root.resolve().name)

    def _part(self, split: str) -> list[NnunetCase]:
        check_split(split, self._parts, of=str(self.root))
        return self._parts[split]

    @cached_property
    def _found(self) -> tuple[dict[str, Files], dict[str, Files]]:
        """The files of the cases for training, and of the further ones."""
        training, further = (find_cases(self.root, part, self.description) for part in ("Tr", "Ts"))
        if not training and not further:
            raise UsageError(f"{self.root}: there is no file *{self.description.ending} in imagesTr or imagesTs.")
        both = sorted(set(training) & set(further))
        if both:
            raise InputError(f"{self.root}: {some(both)} stand in imagesTr and in imagesTs: ids differ between them.")
        return training, further

    @cached_property
    def _parts(self) -> dict[str, list[NnunetCase]]:
        training, further = self._found
        has_test = has_part(further)
        sides = self._sides(list(training), has_test=has_test)
        parts = {
            split: [self._case(id, training[id]) for id, side in sides.items() if side == split]
            for split in ("train", "val", "test")
        }
        if further:
            parts["test" if has_test else UNLABELLED] = [self._case(id, files) for id, files in further.items()]
        return {split: cases for split, cases in parts.items() if cases}

    def _sides(self, ids: Sequence[str], *, has_test: bool) -> dict[str, str]:
        """The split of each case for training: of the file, else ours."""
        path = self.root / SPLITS_FILE
        if path.is_file():
            return read_fold(path, self._shares.fold, ids=ids)
        shares = replace(self._shares, test=0) if has_test else self._shares
        groups = [self._group_of(id) or id for id in ids]
        return dict(zip(ids, split_by_group(groups, shares), strict=True))

    def _case(self, id: str, files: Files) -> NnunetCase:
        description = self.description
        return NnunetCase(
            id=id,
            sources={INPUT: Source(kind="volume", paths=files.images)},
            target=Source(kind="labelmap", paths=(files.label,)) if files.label is not None else None,
            group=self._group_of(id),
            channels=description.channels,
            classes=description.classes,
            ignored=description.ignored,
        )

    def _group_of(self, id: str) -> str | None:
        if self._group is None:
            return None
        match = self._group.search(id)
        if match is None:
            raise InputError(f"The case '{id}' of {self.root} does not fit the setting group, {self._group.pattern}.")
        return match.group(1) if self._group.groups else match.group(0)

    def _missing(self) -> list[str]:
        missing = [path for part in self._found for files in part.values() for path in files.missing]
        return [f"{self.root}: {missing_files(missing)}"] if missing else []

    def _torn(self) -> list[str]:
        torn = torn_groups((split, case.group) for split, cases in self._parts.items() for case in cases)
        return [f"{self.root}: patients lie in several splits: {some(torn)}."] if torn else []

    def _unlike_description(self) -> list[str]:
        """Where the folders and `dataset.json` differ, but for files that are missing."""
        training, _ = self._found
        problems = []
        said = self.description.training
        if said is not None and said != len(training):
            problems.append(f"{self.root / NAME} says numTraining {said}, but there are {len(training)} cases.")
        stray = [str(path) for part in ("Tr", "Ts") for path in stray_files(self.root, part, self.description)]
        if stray:
            problems.append(f"{NAME} names {len(self.description.channels)} channels, not that of {some(stray)}.")
        twice = [str(path) for part in ("Tr", "Ts") for path in doubled(self.root, part, self.description)]
        if twice:
            problems.append(
                f"Beside files of the same name ending in {self.description.ending}, which are the ones read, stand "
                f"{some(twice)}: take out those that are wrong."
            )
        used = {case.id for split, cases in self._parts.items() if split != UNLABELLED for case in cases}
        unused = [id for id in training if id not in used]
        if unused:
            problems.append(f"{self.root / SPLITS_FILE}, fold {self._shares.fold}: {some(unused)} are in neither part.")
        return problems


def read_fold(path: Path, fold: int, *, ids: Sequence[str]) -> dict[str, str]:
    """The split of each case in a fold of `splits_final.json`, in the order of `ids`.

    Raises:
        SettingsError: There is no such fold.
        InputError: The file is no list of folds, names a case that there is not, or one on both sides.
    """
    try:
        folds = json.loads(path.read_text(encoding="utf-8-sig"))
        parts = [{split: [str(id) for id in entry[split]] for split in ("train", "val")} for entry in folds]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        parts = []
    if not parts:
        raise InputError(f"{path} is no list of folds, each with 'train' and 'val', lists of ids.")
    if fold >= len(parts):
        raise SettingsError(f"fold is {fold}, but the last of the {len(parts)} folds of {path} is {len(parts) - 1}.")
    known = set(ids)
    sides: dict[str, str] = {}
    for split, named in parts[fold].items():
        for id in named:
            if id not in known:
                hint = did_you_mean(id, ids, none="there is none.")
                raise InputError(f"{path}, fold {fold} names '{id}', but there is no such case: {hint}")
            if sides.setdefault(id, split) != split:
                raise InputError(f"{path}, fold {fold} has '{id}' in train and in val.")
    return {id: sides[id] for id in ids if id in sides}
