"""What the data sets of clips share: cases by split, what is said of them, and what is found when all is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from omlab import About, Sample, take
from omlab.datasets import check_split
from omlab.digests import digest_of
from omlab.errors import InputError
from omlab.payloads import Payload
from omlab.roles import Case
from omlab_data.files import missing_files, size_of
from omlab_data.verify import Findings, look_through, some_cases
from omlab_video.clip import Clip
from omlab_video.io.frame_folder import clip_of_pictures

RATE = 25.0
"""Frames a second of clips that are pictures, which do not say it."""


class ClipSet(ABC):
    """Clips by split (`omlab.roles.Dataset`)."""

    name: ClassVar[str]
    target: ClassVar[str] = ""
    task: ClassVar[str] = ""
    classes: ClassVar[Mapping[int, str]] = {}

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Sequence[Case]]:
        """The cases of each split; none is empty. Raises `InputError` where files are laid out otherwise."""

    def leaks(self) -> Sequence[str]:
        """What the released lists have in training and in testing, in sentences."""
        return []

    def splits(self) -> Sequence[str]:
        """Those that have a case."""
        return list(self.parts)

    def prepare(self) -> None:
        """Nothing is made. Raises `InputError` where files are not there, or are none of these."""
        if not self.parts:
            raise InputError(f"There is no clip of {self.name} in {self.root}.")

    def about(self, split: str) -> About:
        """Kinds, classes and numbers, from lists and names of files."""
        cases = self.cases(split)
        return About(
            inputs={"clip": "clip"},
            target=self.target,
            task=self.task,
            classes=self.classes,
            groups=len({case.group for case in cases}),
            cases=len(cases),
        )

    def digest(self, split: str) -> str:
        """Of names, classes and sizes of files. Raises `InputError` where files are missing."""
        facts: list[Any] = []
        missing: list[Path] = []
        for case in self.cases(split):
            paths = [path for some in case.files.values() for path in some]
            sizes = [size_of(path) for path in paths]
            missing += [path for path, size in zip(paths, sizes, strict=True) if size is None]
            facts.append([case.id, getattr(case, "label", None), sizes])
        if missing:
            raise InputError(f"{self.name}: {missing_files(missing)}")
        return digest_of(facts)

    def cases(self, split: str) -> Sequence[Case]:
        """In a fixed order."""
        check_split(split, self.parts, of=self.name)
        return self.parts[split]

    def verify(self) -> Sequence[str]:
        """What the released lists leak, and what is wrong with the files, all read through."""
        return [*self.leaks(), *self.findings().problems]

    def findings(self) -> Findings:
        """What reading everything found; done once."""
        return self._findings

    @cached_property
    def _findings(self) -> Findings:
        whole = {split: [_Whole(case) for case in cases] for split, cases in self.parts.items()}
        return look_through(whole, classes=self.classes)

    def some_cases(self) -> Sequence[tuple[str, Case]]:
        """A few cases with their splits."""
        return some_cases(self.parts)

    def report(self, folder: Path) -> Sequence[Path]:
        """A page about the data, with pictures of a few cases."""
        from omlab_data.report import write_report

        return write_report(self, folder, title=self.name)


@dataclass(frozen=True)
class _Whole:
    """A case whose frames are all decoded when it is loaded, so that damage is found wherever it is."""

    case: Case

    @property
    def id(self) -> str:
        return self.case.id

    @property
    def group(self) -> str | None:
        return self.case.group

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        return self.case.files

    def load(self) -> Sample:
        sample = self.case.load()
        for _ in take(sample.inputs, "clip", Clip).stream():
            pass
        return sample


@dataclass(frozen=True, kw_only=True)
class FramesCase(ABC):
    """A clip of pictures, each with a file that says what is in it (`omlab.roles.Case`)."""

    id: str
    group: str
    pictures: Sequence[Path]
    annotations: Sequence[Path]

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The pictures, and the files that say what is in them."""
        return {"clip": self.pictures, "target": self.annotations}

    def load(self) -> Sample:
        """The clip, lazily, and its target. Raises `InputError` that names a file."""
        clip = clip_of_pictures(self.pictures, rate=RATE, name=self.id)
        missing = [path for path in self.annotations if not path.is_file()]
        if missing:
            raise InputError(f"Clip {self.id}: {missing_files(missing)}")
        return Sample(id=self.id, inputs={"clip": clip}, target=self.read_target(clip), group=self.group)

    @abstractmethod
    def read_target(self, clip: Clip) -> Payload:
        """What is in the frames. Raises `InputError` that names a file."""


def home_of(root: Path, *below: str, has: Sequence[str], what: str) -> Path:
    """The folder, `root` or one of those below it, that has a file or folder of one of these names.

    Raises `InputError` that says what the layout is.
    """
    for folder in (root, *(root / name for name in below)):
        if any((folder / name).exists() for name in has):
            return folder
    there = ", ".join(sorted(path.name for path in root.iterdir())[:5]) if root.is_dir() else ""
    found = f"it has {there}" if there else "it is empty" if root.is_dir() else "it is no folder"
    raise InputError(f"{root} is not laid out as {what}, which has {' or '.join(has)}: {found}.")
