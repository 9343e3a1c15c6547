"""The data set `imagefolder`: a user's own images, a folder a class, or a table beside them (`data.listing`).

Where the folder says no split, it is drawn: by patient (group) where these are known, else class by class, so that no
class is missing from a split that can have it. Images without classes have no test split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from omlab import About
from omlab.card_schema import DatasetCard
from omlab.cases import PathCase, Source
from omlab.datasets import check_split
from omlab.digests import digest_of
from omlab.errors import InputError
from omlab.roles import Case
from omlab_data.files import missing_files, size_of, some
from omlab_data.splits import Shares, group_pattern, split_by_group, torn_groups
from omlab_data.verify import Findings, look_through, some_cases
from omlab_image.data.listing import Listing, Row, ids_of, read_listing

INPUT = "image"
UNLABELLED = "unlabelled"
"""The split of images that a table gives no class."""
_ORDER = ("train", "val", "test")
_THRESHOLD = 0.5


def open_imagefolder(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> ImageFolder:
    """Entry of the card; `root` is the folder."""
    shares = Shares(**{name: settings[name] for name in ("test", "val", "folds", "fold", "seed")})
    return ImageFolder(root, shares=shares, group=settings["group"], table=settings["table"])


@dataclass(frozen=True, kw_only=True)
class ImageCase(PathCase):
    """An image of a folder; `label` is its class, where it has exactly one."""

    label: str | None = None


@dataclass(frozen=True)
class FolderCases(Sequence[ImageCase]):
    """Cases that are made of their rows when they are asked for."""

    root: Path
    listing: Listing
    ids: Sequence[str]
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, place: int) -> ImageCase: ...
    @overload
    def __getitem__(self, place: slice) -> FolderCases: ...
    def __getitem__(self, place: int | slice) -> ImageCase | FolderCases:
        if isinstance(place, slice):
            return replace(self, indices=self.indices[place])
        return self._case(self.indices[place])

    def __iter__(self) -> Iterator[ImageCase]:
        return map(self._case, self.indices)

    def _case(self, index: int) -> ImageCase:
        row = self.listing.rows[index]
        return ImageCase(
            id=self.ids[index],
            sources={INPUT: Source(kind="image", paths=(self.root / row.path,))},
            target=None if row.classes is None else Source(kind="classes", value=self._target(row.classes)),
            group=row.group,
            label=row.classes[0] if row.classes and not self.listing.is_multi_label else None,
        )

    def _target(self, names: Sequence[str]) -> dict[str, Any]:
        value: dict[str, Any] = {"probabilities": {name: float(name in names) for name in self.listing.classes}}
        return {**value, "threshold": _THRESHOLD} if self.listing.is_multi_label else value


class ImageFolder:
    """A folder of images (`omlab.roles.Dataset`)."""

    def __init__(self, root: Path, *, shares: Shares, group: str = "", table: str = "") -> None:
        self.root = Path(root)
        self._shares = shares
        self._table = table
        self._group = group_pattern(group)
        self._findings: Findings | None = None

    @cached_property
    def listing(self) -> Listing:
        """The images. Raises `UsageError` or `InputError`."""
        return read_listing(self.root, table=self._table, group=self._group)

    def splits(self) -> Sequence[str]:
        """As the folder has them, else of `train`, `val` and `test` those that are not empty."""
        return list(self._parts)

    def prepare(self) -> None:
        """Nothing is made. Raises `InputError` where files are missing, or a patient lies in several splits."""
        missing = [self.root / row.path for row in self.listing.rows if not (self.root / row.path).is_file()]
        if missing:
            raise InputError(f"{self.root}: {missing_files(missing)}")
        rows = self.listing.rows
        torn = torn_groups((split, rows[index].group) for split, part in self._parts.items() for index in part)
        if torn:
            raise InputError(f"{self.root}: patients lie in several splits: {some(torn)}.")

    def about(self, split: str) -> About:
        """Classes and numbers, from the folder's names or the table; `facts` has the number of cases by class."""
        rows = [self.listing.rows[index] for index in self._part(split)]
        has_targets = any(row.classes is not None for row in rows)
        counts = Counter(name for row in rows for name in row.classes or ())
        groups = {row.group for row in rows}
        return About(
            inputs={INPUT: "image"},
            target="classes" if has_targets else "",
            task="classification" if has_targets else "",
            classes=dict(enumerate(self.listing.classes)) if has_targets else {},
            groups=None if None in groups or not groups else len(groups),
            cases=len(rows),
            facts={INPUT: {"by_class": {name: counts[name] for name in self.listing.classes}}} if has_targets else {},
        )

    def digest(self, split: str) -> str:
        """Of the names, sizes, classes and groups of the split's images."""
        rows = [self.listing.rows[index] for index in self._part(split)]
        files = [[row.path, size_of(self.root / row.path), row.classes, row.group] for row in rows]
        return digest_of([self.listing.classes, self.listing.is_multi_label, files])

    def cases(self, split: str) -> Sequence[Case]:
        """The cases in the order of their paths, or of the table."""
        indices = self._part(split)
        self.prepare()
        return FolderCases(self.root, self.listing, self._ids, indices)

    def verify(self) -> Sequence[str]:
        """What is wrong: files that cannot be read, the same picture twice, patients in several splits."""
        return self.findings().problems

    def findings(self) -> Findings:
        """What reading everything found; done once."""
        if self._findings is None:
            self._findings = look_through(self._all, classes=dict(enumerate(self.listing.classes)))
        return self._findings

    def some_cases(self) -> Sequence[tuple[str, Case]]:
        """A few cases with their splits."""
        return some_cases(self._all)

    def report(self, folder: Path) -> Sequence[Path]:
        """A page about the data, with pictures of a few cases."""
        from omlab_data.report import write_report

        return write_report(self, folder, title=self.root.resolve().name)

    @property
    def _all(self) -> dict[str, FolderCases]:
        return {split: FolderCases(self.root, self.listing, self._ids, part) for split, part in self._parts.items()}

    @cached_property
    def _ids(self) -> list[str]:
        return ids_of([row.path for row in self.listing.rows])

    def _part(self, split: str) -> Sequence[int]:
        check_split(split, self._parts, of=str(self.root))
        return self._parts[split]

    @cached_property
    def _parts(self) -> dict[str, list[int]]:
        """Indices of the rows by split: `train`, `val`, `test`, then others as they come."""
        listing = self.listing
        sides = [row.split or "" for row in listing.rows] if listing.is_split else self._drawn(listing.rows)
        parts: dict[str, list[int]] = {side: [] for side in _ORDER}
        for index, (side, row) in enumerate(zip(sides, listing.rows, strict=True)):
            is_unlabelled = not listing.is_split and listing.classes and row.classes is None
            parts.setdefault(UNLABELLED if is_unlabelled else side, []).append(index)
        return {side: indices for side, indices in parts.items() if indices}

    def _drawn(self, rows: Sequence[Row]) -> list[str]:
        """By group where these are known, else class by class."""
        shares = self._shares if self.listing.classes else replace(self._shares, test=0.0)
        if any(row.group is not None for row in rows):
            return split_by_group([row.group or row.path for row in rows], shares)
        sides = [""] * len(rows)
        strata: dict[tuple[str, ...], list[int]] = {}
        for index, row in enumerate(rows):
            strata.setdefault(() if self.listing.is_multi_label else row.classes or (), []).append(index)
        for indices in strata.values():
            drawn = split_by_group([rows[index].path for index in indices], shares)
            for index, side in zip(indices, drawn, strict=True):
                sides[index] = side
        return sides
