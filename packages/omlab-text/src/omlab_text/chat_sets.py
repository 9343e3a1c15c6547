"""The data set `chats`: chats or texts to learn from, a line of JSON each (`omlab_text.rows`), with splits.

A row may have `source` (where it is from; else the name of its file), `group` (rows that belong together, such as one
patient's) and `split` (train, val or test). Rows without a split are parted by their groups, or else one by one
(`omlab_data.splits`). Of a row no more is kept in memory than where its line begins, its id and its group.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, overload

from omlab import About, Sample
from omlab.card_schema import DatasetCard
from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, UsageError
from omlab.json_lines import json_object
from omlab_data.splits import SPLITS, Shares, split_by_group
from omlab_payloads.lines import Line, read_lines
from omlab_text.chat import Chat
from omlab_text.line_cases import text_in
from omlab_text.rows import id_of

_ALSO = {"valid": "val", "validation": "val"}
_DIGITS = 6
"""Of the number of a row without an id."""


def open_chats(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> ChatData:
    """Entry of the card; `root` is a file of JSON lines, or a folder of such."""
    shares = Shares(**{name: settings[name] for name in ("test", "val", "seed")})
    return ChatData(Path(root), shares=shares, kinds=card.inputs, task=card.task or "")


@dataclass(frozen=True, kw_only=True)
class ChatCase:
    """A row of a file (`omlab.roles.Case`)."""

    id: str
    path: Path
    begin: int
    number: int
    group: str | None = None

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """None of its own: a file holds many rows, of all splits; what it holds is in the data set's digest."""
        return {}

    def load(self) -> Sample:
        """Read the line. Raises `InputError` that names file and line."""
        line = next(read_lines(self.path, start=self.begin), Line(self.begin, self.begin, ""))
        row = read_row(line.text, path=self.path, number=self.number)
        meta = {"source": row.source, "where": f"{self.path}, line {self.number}"}
        return Sample(id=self.id, inputs={"chat": row.chat}, target=row.chat, group=self.group, meta=meta)


class Row(NamedTuple):
    """What a line holds; `split` "": none."""

    id: str | None
    chat: Chat
    source: str
    group: str | None
    split: str


def read_row(text: str, *, path: Path, number: int) -> Row:
    """The row of a line. Raises `InputError` that names file and line."""
    row = json_object(text.encode(), path=path, number=number)
    try:
        given = text_in(row, "split") or ""
        split = _ALSO.get(given, given)
        if split and split not in SPLITS:
            raise InputError(f"split: it is '{given}', but must be {', '.join(SPLITS)}, or left out.")
        source, group = text_in(row, "source") or path.stem, text_in(row, "group")
        return Row(id_of(row), Chat.from_value(row), source, group, split)
    except InputError as error:
        raise InputError(f"{path}, line {number} cannot be used: {error}") from None


class ChatData:
    """The rows of files as cases (`omlab.roles.Dataset`).

    Args:
        root: A file of JSON lines, or a folder of such.
        shares: How rows without a split are parted.
        kinds: Of the inputs.
        task: Of the data.
    """

    def __init__(self, root: Path, *, shares: Shares, kinds: Mapping[str, str], task: str) -> None:
        self.root, self.shares, self.kinds, self.task = root, shares, kinds, task

    def splits(self) -> Sequence[str]:
        """Those that have rows."""
        return [split for split in SPLITS if self._index.rows[split]]

    def prepare(self) -> None:
        """Go through all lines. Raises `InputError` that names file, line and field of the first that is wrong."""
        self._index  # noqa: B018 - read now, so that what is wrong is said before a model is loaded

    def about(self, split: str) -> About:
        """Kinds and numbers."""
        cases = self.cases(split)
        groups = len({self._index.groups.get(row, self._index.ids[row]) for row in cases.rows})
        return About(inputs=self.kinds, target="chat", task=self.task, groups=groups, cases=len(cases))

    def digest(self, split: str) -> str:
        """Of the files' content, and of how they are parted. Raises `UsageError` as `cases` does."""
        self._check(split)
        return digest_of([split, asdict(self.shares), self._index.digests])

    def cases(self, split: str) -> ChatCases:
        """The cases in the files' order. Raises `UsageError` for a split without rows."""
        self._check(split)
        return ChatCases(self._index, self._index.rows[split])

    def verify(self) -> Sequence[str]:
        """What is wrong with the first line that is, read again."""
        try:
            index_of(self.root, self.shares)
        except InputError as error:
            return [str(error)]
        return []

    def _check(self, split: str) -> None:
        if split not in self.splits():
            raise UsageError(f"{self.root} has no rows of the split '{split}', only of {', '.join(self.splits())}.")

    @cached_property
    def _index(self) -> Index:
        return index_of(self.root, self.shares)


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


def index_of(root: Path, shares: Shares) -> Index:
    """Read all lines of a file, or of a folder's files. Raises `InputError` that names the first that is wrong."""
    paths = _paths(root)
    lines: dict[str, str] = {}
    groups: dict[int, str] = {}
    splits: list[str] = []
    files, begins, numbers = array("L"), array("Q"), array("Q")
    for file, path in enumerate(paths):
        for number, begin, text in _lines(path):
            row = read_row(text, path=path, number=number)
            own = f"{number:0{_DIGITS}d}" if len(paths) == 1 else f"{path.stem}-{number:0{_DIGITS}d}"
            id = row.id or own
            if id in lines:
                raise InputError(f"{path}, line {number}: the id '{id}' is that of {lines[id]} already.")
            lines[id] = f"{path}, line {number}"
            if row.group is not None:
                groups[len(splits)] = row.group
            splits.append(row.split)
            for values, value in ((files, file), (begins, begin), (numbers, number)):
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


class ChatCases(Sequence[ChatCase]):
    """Some rows as cases, each made when it is asked for."""

    def __init__(self, places: Index, rows: Sequence[int]) -> None:
        self.places, self.rows = places, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> ChatCase: ...
    @overload
    def __getitem__(self, place: slice) -> ChatCases: ...
    def __getitem__(self, place: int | slice) -> ChatCase | ChatCases:
        if isinstance(place, slice):
            return ChatCases(self.places, self.rows[place])
        row, places = self.rows[place], self.places
        return ChatCase(
            id=places.ids[row],
            path=places.paths[places.files[row]],
            begin=places.begins[row],
            number=places.numbers[row],
            group=places.groups.get(row),
        )


def _paths(root: Path) -> Sequence[Path]:
    found = sorted(root.glob("*.jsonl")) if root.is_dir() else [root]
    if not found:
        raise InputError(f"The folder {root} has no .jsonl file.")
    return found


def _lines(path: Path) -> Iterator[tuple[int, int, str]]:
    """The number, first byte and text of each line that is not blank."""
    for number, line in enumerate(read_lines(path), start=1):
        if line.text.strip():
            yield number, line.begin, line.text.strip()
