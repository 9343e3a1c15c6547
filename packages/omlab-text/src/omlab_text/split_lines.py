"""Data sets of JSON lines to train on: rows are read when they are asked for, and parted by their groups.

Each row is checked once, when the data set is prepared; what is kept of it is where it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from omlab import About, Sample
from omlab.digests import digest_of
from omlab.errors import InputError, UsageError
from omlab.json_lines import json_object
from omlab.payloads import Payload
from omlab_data.splits import SPLITS, Shares, split_by_group
from omlab_payloads.lines import read_lines
from omlab_text.line_cases import text_in


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a line holds: a sample's parts, and what rows of one split go by."""

    id: str
    inputs: Mapping[str, Payload]
    target: Payload | None = None
    group: str | None = None
    split: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


Make = Callable[[Mapping[str, Any], int], Row]
"""The row of an object and its line's number; it may raise `InputError`, to which file and line are added."""


@dataclass(frozen=True, kw_only=True)
class LinePlace:
    """A case by where its line begins (`omlab.roles.Case`)."""

    id: str
    group: str
    path: Path
    begin: int
    number: int
    make: Make

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """None of its own: a file holds many rows, of all splits; what it holds is in the data set's digest."""
        return {}

    def load(self) -> Sample:
        """Read the line. Raises `InputError` that names it where it is no longer what it was."""
        line = next(read_lines(self.path, start=self.begin), None)
        row = _made(self.make, self.path, "" if line is None else line.text, self.number)
        return Sample(id=self.id, inputs=row.inputs, target=row.target, group=self.group, meta=row.meta)


class SplitLines:
    """The rows of a file (`omlab.roles.Dataset`).

    Args:
        path: The file.
        make: What an object becomes; picklable.
        kinds: Of the inputs.
        target: Kind of the targets; "": there are none.
        task: Of the data.
        shares: How rows that do not name their `split` are parted.
    """

    def __init__(
        self,
        path: Path,
        make: Make,
        *,
        kinds: Mapping[str, str],
        target: str,
        task: str,
        shares: Shares,
    ) -> None:
        self.path, self.make, self.kinds, self.target, self.task = path, make, kinds, target, task
        self.shares = shares

    def splits(self) -> Sequence[str]:
        """Those that have rows."""
        return [split for split in SPLITS if self._places[split]]

    def prepare(self) -> None:
        """Check every row. Raises `InputError` that names file, line and field."""
        self._places  # noqa: B018 - read now, so that what is wrong is said before a model is loaded

    def about(self, split: str) -> About:
        """Kinds and numbers."""
        cases = self.cases(split)
        groups = len({case.group for case in cases})
        return About(inputs=self.kinds, target=self.target, task=self.task, groups=groups, cases=len(cases))

    def digest(self, split: str) -> str:
        """Of the split's lines."""
        wanted = {case.begin for case in self.cases(split)}
        return digest_of([line.text for line in read_lines(self.path) if line.begin in wanted])

    def cases(self, split: str) -> Sequence[LinePlace]:
        """The split's cases in the file's order. Raises `UsageError` for another split."""
        if split not in self.splits():
            raise UsageError(f"{self.path} has no rows of the split '{split}', only of {', '.join(self.splits())}.")
        return self._places[split]

    def verify(self) -> Sequence[str]:
        """What is wrong with the file, which is read again."""
        try:
            list(self._read())
        except InputError as error:
            return [str(error)]
        return []

    @cached_property
    def _places(self) -> Mapping[str, Sequence[LinePlace]]:
        found = list(self._read())
        drawn = split_by_group([place.group for _, place in found], self.shares)
        parted: dict[str, list[LinePlace]] = {split: [] for split in SPLITS}
        for (own, place), split in zip(found, drawn, strict=True):
            parted[own or split].append(place)
        return parted

    def _read(self) -> Iterator[tuple[str, LinePlace]]:
        """Each row that there is, and the split that it names."""
        lines: dict[str, int] = {}
        for number, line in enumerate(read_lines(self.path), start=1):
            if not line.text.strip():
                continue
            row = _made(self.make, self.path, line.text, number)
            if row.id in lines:
                raise InputError(
                    f"{self.path}, line {number}: the id '{row.id}' is that of line {lines[row.id]} already."
                )
            lines[row.id] = number
            group = row.group or row.id
            place = LinePlace(id=row.id, group=group, path=self.path, begin=line.begin, number=number, make=self.make)
            yield row.split, place
        if not lines:
            raise InputError(f"{self.path} holds no row.")


def split_in(row: Mapping[str, Any]) -> str:
    """The split that a row names; "": none. Raises `InputError` for another than there are."""
    split = text_in(row, "split") or ""
    if split and split not in SPLITS:
        raise InputError(f"split: it is '{split}', but must be {', '.join(SPLITS)}, or left out.")
    return split


def _made(make: Make, path: Path, text: str, number: int) -> Row:
    row = json_object(text.strip().encode("utf-8", "surrogatepass"), path=path, number=number)
    try:
        return make(row, number)
    except InputError as error:
        raise InputError(f"{path}, line {number} cannot be used: {error}") from None
