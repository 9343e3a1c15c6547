"""Data sets of JSON lines to train on: files of rows that are read when they are asked for, parted by their groups.

A row may have `group` (rows that belong together, such as one patient's) and `split` (train, val or test). Rows without
a split are parted by their groups, or else one by one (`omlab_data.splits`). Each row is checked once, when the data
set is prepared; of it no more is kept in memory than where its line begins, its id and its group.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from omlab import About, Sample
from omlab.card_schema import DatasetCard
from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, UsageError
from omlab.json_lines import json_object
from omlab.payloads import Payload
from omlab_data.splits import SPLITS, Shares, split_by_group
from omlab_payloads.lines import read_lines
from omlab_text.line_cases import text_in

_ALSO = {"valid": "val", "validation": "val"}
_DIGITS = 6
"""Of the number of a row without an id."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a line holds: a sample's parts."""

    inputs: Mapping[str, Payload]
    target: Payload | None = None
    id: str | None = None
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a row stands: file, number and first byte of its line, and what it is called where it has no id."""

    path: Path
    number: int
    begin: int
    name: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}"


Make = Callable[[Mapping[str, Any], Place], Row]
"""The row of an object; picklable. It may raise `InputError`, to which file and line are added."""


@dataclass(frozen=True, kw_only=True)
class RowCase:
    """A row as a case (`omlab.roles.Case`)."""

    id: str
    place: Place
    make: Make
    group: str | None = None

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """None of its own: a file holds many rows, of all splits; what it holds is in the data set's digest."""
        return {}

    def load(self) -> Sample:
        """Read the line. Raises `InputError` that names it where it is no longer what it was."""
        line = next(read_lines(self.place.path, start=self.place.begin), None)
        row, _ = _row(self.make, "" if line is None else line.text, self.place)
        return Sample(id=self.id, inputs=row.inputs, target=row.target, group=self.group, meta=row.meta)


class SplitLines:
    """The rows of files (`omlab.roles.Dataset`).

    Args:
        card: Says the kinds of inputs and targets, and the task.
        root: A file of JSON lines, or a folder of such.
        settings: The shares of rows without a split: `test`, `val`, and `seed`.
        make: What an object becomes.
    """

    def __init__(self, card: DatasetCard, *, root: Path, settings: Mapping[str, Any], make: Make) -> None:
        self.card, self.root, self.make = card, Path(root), make
        self.shares = Shares(**{name: settings[name] for name in ("test", "val", "seed")})

    def splits(self) -> Sequence[str]:
        """Those that have rows."""
        return [split for split in SPLITS if self._index.rows[split]]

    def prepare(self) -> None:
        """Go through all lines. Raises `InputError` that names file, line and field of the first that is wrong."""
        self._index  # noqa: B018 - read now, so that what is wrong is said before a model is loaded

    def about(self, split: str) -> About:
        """Kinds and numbers."""
        rows, index = self.cases(split).rows, self._index
        groups = len({index.groups.get(row, index.ids[row]) for row in rows})
        return About(
            inputs=self.card.inputs,
            target=self.card.target or "",
            task=self.card.task or "",
            groups=groups,
            cases=len(rows),
        )

    def digest(self, split: str) -> str:
        """Of the files' content, and of how they are parted. Raises `UsageError` as `cases` does."""
        self._check(split)
        return digest_of([split, asdict(self.shares), self._index.digests])

    def cases(self, split: str) -> RowCases:
        """The cases in the files' order. Raises `UsageError` for a split without rows."""
        self._check(split)
        return RowCases(self._index, self._index.rows[split], make=self.make)

    def verify(self) -> Sequence[str]:
        """What is wrong with the first line that is, read again."""
        try:
            index_of(self.root, self.make, shares=self.shares)
        except InputError as error:
            return [str(error)]
        return []

    def _check(self, split: str) -> None:
        if split not in self.splits():
            raise UsageError(f"{self.root} has no rows of the split '{split}', only of {', '.join(self.splits())}.")

    @cached_property
    def _index(self) -> Index:
        return index_of(self.root, self.make, shares=self.shares)


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """Where the rows of files stand.

    Attributes:
        paths: The files.
        digests: Of their content.
        ids: Of the rows.
        groups: Of the rows that have one, by row.
        files: Which of the paths each row stands in.
        begins: The byte that its line begins at.
        numbers: The number of its line.
        rows: By split.
    """

    paths: Sequence[Path]
    digests: Sequence[str]
    ids: Sequence[str]
    groups: Mapping[int, str]
    files: array[int]
    begins: array[int]
    numbers: array[int]
    rows: Mapping[str, array[int]]


class RowCases(Sequence[RowCase]):
    """Some rows as cases, each made when it is asked for."""

    def __init__(self, known: Index, rows: Sequence[int], *, make: Make) -> None:
        self.known, self.rows, self.make = known, rows, make

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> RowCase: ...
    @overload
    def __getitem__(self, place: slice) -> RowCases: ...
    def __getitem__(self, place: int | slice) -> RowCase | RowCases:
        if isinstance(place, slice):
            return RowCases(self.known, self.rows[place], make=self.make)
        row, known = self.rows[place], self.known
        path = known.paths[known.files[row]]
        where = Place(path=path, number=known.numbers[row], begin=known.begins[row], name=known.ids[row])
        return RowCase(id=known.ids[row], place=where, make=self.make, group=known.groups.get(row))


def index_of(root: Path, make: Make, *, shares: Shares) -> Index:
    """Read all lines of a file, or of a folder's files. Raises `InputError` that names the first that is wrong."""
    paths = _paths(root)
    lines: dict[str, str] = {}
    groups: dict[int, str] = {}
    splits: list[str] = []
    files, begins, numbers = array("L"), array("Q"), array("Q")
    for file, path in enumerate(paths):
        for text, place in _lines(path, prefix="" if len(paths) == 1 else f"{path.stem}-"):
            row, split = _row(make, text, place)
            id = row.id or place.name
            if id in lines:
                raise InputError(f"{place}: the id '{id}' is that of {lines[id]} already.")
            lines[id] = str(place)
            if row.group is not None:
                groups[len(splits)] = row.group
            splits.append(split)
            for values, value in ((files, file), (begins, place.begin), (numbers, place.number)):
                values.append(value)
    if not splits:
        raise InputError(f"{root} holds no row.")
    ids = list(lines)
    return Index(
        paths=paths,
        digests=[file_digest(path) for path in paths],
        ids=ids,
        groups=groups,
        files=files,
        begins=begins,
        numbers=numbers,
        rows=_parted(splits, [groups.get(row, id) for row, id in enumerate(ids)], shares),
    )


def _parted(splits: Sequence[str], groups: Sequence[str], shares: Shares) -> dict[str, array[int]]:
    """The rows of each split: as they say, else by their groups."""
    free = [row for row, split in enumerate(splits) if not split]
    drawn = dict(zip(free, split_by_group([groups[row] for row in free], shares), strict=True))
    found = {split: array("Q") for split in SPLITS}
    for row, split in enumerate(splits):
        found[split or drawn[row]].append(row)
    return found


def _row(make: Make, text: str, place: Place) -> tuple[Row, str]:
    """The row of a line, and the split that it names; "": none. Raises `InputError` that names file and line."""
    row = json_object(text.strip().encode("utf-8", "surrogatepass"), path=place.path, number=place.number)
    try:
        given = text_in(row, "split") or ""
        split = _ALSO.get(given, given)
        if split and split not in SPLITS:
            raise InputError(f"split: it is '{given}', but must be {', '.join(SPLITS)}, or left out.")
        return make(row, place), split
    except InputError as error:
        raise InputError(f"{place} cannot be used: {error}") from None


def _paths(root: Path) -> Sequence[Path]:
    found = sorted(root.glob("*.jsonl")) if root.is_dir() else [root]
    if not found:
        raise InputError(f"The folder {root} has no .jsonl file.")
    return found


def _lines(path: Path, *, prefix: str) -> Iterator[tuple[str, Place]]:
    """The text and place of each line that is not blank; `prefix`: of the names of its rows."""
    for number, line in enumerate(read_lines(path), start=1):
        if line.text.strip():
            yield line.text, Place(path=path, number=number, begin=line.begin, name=f"{prefix}{number:0{_DIGITS}d}")
