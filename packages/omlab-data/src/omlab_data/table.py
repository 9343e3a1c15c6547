"""A table of cases: read once to learn what its columns hold, after that only row by row.

Of a row this keeps where it begins, the side that it is on and a number for its group: some twenty bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from omlab.errors import InputError
from omlab_data.columns import (
    CLASSES,
    GROUP,
    ID,
    SCORES,
    SPLIT,
    TARGET,
    Column,
    class_name,
    class_names,
    columns_of,
    entry_in,
    file_column,
    is_empty,
    is_number,
    names_a_file,
    numbers_in,
    paths_in,
    reads_it,
)
from omlab_data.files import some
from omlab_data.rows import Row, Rows
from omlab_data.splits import SPLITS, Shares, group_key, sides

MOST_CLASSES = 1000


@dataclass(kw_only=True)
class Table:
    """The cases of a table.

    Attributes:
        rows: The file.
        inputs: Columns of inputs, their kinds known.
        target: Column of targets; None where there is none.
        classes: Names of classes, where targets are names.
        names: Of the values of targets that are files, where the user gave them.
        channels: How many files a cell of an input has.
        meta: Columns that are kept with the cases.
        splits: Names of the splits.
        has_groups: Whether there is a column `group`.
        starts: The byte that each row begins at; `stops` likewise.
        lines: The line of each row.
        side: The split of each row, as an index in `splits`.
        groups: A number for the group of each row.
        doubles: A sentence about ids that are there twice, if any.
        torn: A sentence about groups that lie in several splits, if any.
    """

    rows: Rows
    inputs: Sequence[Column]
    target: Column | None
    classes: Sequence[str] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    meta: Sequence[str] = ()
    splits: Sequence[str] = ()
    has_groups: bool = False
    starts: array[int] = field(default_factory=lambda: array("Q"))
    stops: array[int] = field(default_factory=lambda: array("Q"))
    lines: array[int] = field(default_factory=lambda: array("L"))
    side: bytearray = field(default_factory=bytearray)
    groups: array[int] = field(default_factory=lambda: array("Q"))
    doubles: str = ""
    torn: str = ""

    @property
    def path(self) -> Path:
        """Of the table."""
        return self.rows.path

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, index: int) -> Row:
        """One row, read now."""
        return self.rows.at(self.starts[index], self.stops[index], line=self.lines[index])

    def rows_at(self, indices: Iterable[int]) -> Iterator[tuple[int, Row]]:
        """The rows of these indices, which grow, in one pass over the file."""
        wanted = iter(indices)
        index = next(wanted, None)
        for place, row in enumerate(self.rows):
            if index is None:
                return
            if place == index:
                yield index, row
                index = next(wanted, None)


def id_of(cells: dict[str, Any]) -> str:
    """The id in a row."""
    return str(cells.get(ID, "")).strip()


def group_of(cells: dict[str, Any]) -> str | None:
    """The group in a row."""
    cell = cells.get(GROUP)
    return None if is_empty(cell) else str(cell).strip()


def read_table(path: Path, *, shares: Shares, classes: Sequence[str] = (), meta: Sequence[str] = ()) -> Table:
    """Read the table in `path` once through.

    Args:
        path: A CSV or JSONL file; paths in it are relative to its folder.
        shares: How cases are split where there is no column `split`.
        classes: Names of the classes in the order wanted; where targets are class names, there is no other.
        meta: Columns that are kept with the cases.

    Raises:
        InputError: It cannot be understood; names the file and the line.
    """
    rows = Rows(path)
    headers = rows.columns or _keys(rows)
    inputs, target = columns_of(headers, path=path, meta=meta)
    table = Table(rows=rows, inputs=inputs, target=target, meta=tuple(meta), has_groups=GROUP in headers)
    _Reader(table, given_classes=classes, has_splits=SPLIT in headers, seed=shares.seed).read()
    if SPLIT not in headers:
        side = sides(table.groups, shares)
        table.side = bytearray(side(key) for key in table.groups)
        present = set(table.side)
        table.splits = SPLITS
        if not present.issuperset(range(len(SPLITS))):
            table.splits = tuple(name for index, name in enumerate(SPLITS) if index in present)
            table.side = bytearray(table.splits.index(SPLITS[index]) for index in table.side)
    return table


def _keys(rows: Rows) -> tuple[str, ...]:
    """The keys of all objects of a JSONL file, in the order in which they come up."""
    found: dict[str, None] = {}
    for row in rows:
        found.update(dict.fromkeys(row.cells))
    if not found:
        raise InputError(f"{rows.path} has no case: a line holds an object with an id and inputs.")
    return tuple(found)


class _Reader:
    """One pass over the rows of a table, which fills it."""

    def __init__(self, table: Table, *, given_classes: Sequence[str], has_splits: bool, seed: int) -> None:
        self.table = table
        self.folder = table.path.parent
        self.seed = seed
        self.has_splits = has_splits
        self.given_classes = [class_name(name) for name in given_classes]
        self.names: dict[str, None] = {}
        self.split_names: dict[str, int] = {}
        self.ids = array("q")
        self.settled: set[str] = set()
        self.missing: dict[str, str] = {}

    def read(self) -> None:
        """Read it."""
        table = self.table
        for row in table.rows:
            self._place(row)
            table.inputs = [self._input(column, row) for column in table.inputs]
            if table.target is not None:
                table.target = self._target(table.target, row)
        if not len(table):
            raise InputError(f"{table.path} has no case: below the header there is no row.")
        for column in (*table.inputs, *([table.target] if table.target is not None else [])):
            if not column.kind and column.header in self.missing:
                missing = self.missing[column.header]
                raise InputError(f"{table.path}: no file of the column '{column.header}' is there; {missing}.")
            if not column.kind and column is not table.target:
                raise InputError(f"{table.path}: no row has anything in the column '{column.header}': leave it out.")
        if table.target is not None and not table.target.kind:
            table.target = None  # a column of targets without one
        if table.target is not None and table.target.kind == CLASSES and table.target.is_value:
            table.classes = self.given_classes or sorted(self.names)
        else:
            table.names = dict(enumerate(self.given_classes, start=1))
        self._order_splits()
        table.doubles = _doubles(table, self.ids)
        table.torn = _torn(table)

    def _place(self, row: Row) -> None:
        table, cells = self.table, row.cells
        id = id_of(cells)
        if not id or isinstance(cells[ID], bool | list | dict):
            raise InputError(f"{table.path}, line {row.line} has no id.")
        table.starts.append(row.start)
        table.stops.append(row.stop)
        table.lines.append(row.line)
        self.ids.append(_number(id))
        group = group_of(cells)
        table.groups.append(group_key(f"case {id}" if group is None else f"group {group}", seed=self.seed))
        if self.has_splits:
            cell = cells.get(SPLIT)
            if is_empty(cell):
                raise InputError(f"{table.path}, line {row.line}: the case '{id}' has no split.")
            side = self.split_names.setdefault(str(cell).strip(), len(self.split_names))
            if side > 255:
                raise InputError(f"{table.path}, line {row.line}: there are more than 256 splits.")
            table.side.append(side)

    def _input(self, column: Column, row: Row) -> Column:
        cell = row.cells.get(column.header)
        if column.is_value or is_empty(cell):
            return column
        parts = self._paths(column, row)
        known = self.table.channels.setdefault(column.name, len(parts))
        if len(parts) != known:
            raise InputError(
                f"{self.table.path}, line {row.line}, column '{column.header}' has {len(parts)} files, but the rows "
                f"above have {known}: channels are the same for all cases."
            )
        return self._settled(column, parts, row)

    def _paths(self, column: Column, row: Row) -> list[str]:
        try:
            return paths_in(row.cells[column.header])
        except ValueError as error:
            raise InputError(f"{self.table.path}, line {row.line}, column '{column.header}': {error}.") from None

    def _settled(self, column: Column, parts: list[str], row: Row, *, unlike: Sequence[str] = ()) -> Column:
        """The column with its kind, told by the first of its files that is there."""
        if column.header in self.settled:
            return column
        path = self.folder / parts[0]
        if not path.exists():
            path = self.folder / entry_in(parts[0])[0]
        if not path.exists() and names_a_file(parts[0], folder=self.folder):
            self.missing.setdefault(column.header, f"line {row.line}: {path}")
            return column
        self.settled.add(column.header)
        return file_column(column, path, table=self.table.path, line=row.line, unlike=unlike)

    def _target(self, column: Column, row: Row) -> Column:
        cell = row.cells.get(column.header)
        if is_empty(cell):
            return column
        if not column.kind and isinstance(cell, list | dict) and not names_a_file(cell, folder=self.folder):
            raise InputError(f"{self.table.path}, line {row.line}: say the kind of such a target, {TARGET}:KIND.")
        if not column.kind and not names_a_file(cell, folder=self.folder):
            column = replace(column, kind=SCORES if is_number(cell) else CLASSES, is_value=True)
        if column.is_value and reads_it(column.kind, cell):
            column = replace(column, is_value=False)
        if not column.is_value:
            inputs = [other.kind for other in self.table.inputs if not other.is_value]
            return self._settled(column, self._paths(column, row), row, unlike=inputs)
        if column.kind == SCORES and numbers_in(cell) is None:
            raise InputError(
                f"{self.table.path}, line {row.line}: the target '{cell}' is no number, and no JSON of several; call "
                f"the column {TARGET}:{CLASSES} where targets are classes."
            )
        if column.kind == CLASSES:
            names = class_names(cell)
            for name in names:
                self._class(name, row)
            if not column.several and (len(names) > 1 or isinstance(cell, list)):
                column = replace(column, several=True)
        return column

    def _class(self, name: str, row: Row) -> None:
        where = f"{self.table.path}, line {row.line}"
        if self.given_classes and name not in self.given_classes:
            raise InputError(f"{where}: '{name}' is none of the classes {', '.join(self.given_classes)}.")
        self.names[name] = None
        if len(self.names) > MOST_CLASSES:
            raise InputError(f"{where}: there are more than {MOST_CLASSES} classes; is the target a path or a text?")

    def _order_splits(self) -> None:
        """`train`, `val`, `test`, then others as they came."""
        names = sorted(self.split_names, key=lambda name: SPLITS.index(name) if name in SPLITS else 3)
        places = {self.split_names[name]: place for place, name in enumerate(names)}
        self.table.splits = tuple(names)
        self.table.side = bytearray(places[side] for side in self.table.side)


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _doubles(table: Table, numbers: array[int]) -> str:
    """Ids that are there twice, found by their numbers; the file is read again only where there are some."""
    if len(set(numbers)) == len(numbers):
        return ""
    first: dict[str, int] = {}
    found = []
    for row in table.rows:
        id = id_of(row.cells)
        if id in first:
            found.append(f"'{id}' (lines {first[id]} and {row.line})")
        first.setdefault(id, row.line)
    what = "id is" if len(found) == 1 else "ids are"
    return f"{table.path}: {len(found)} {what} there twice: {some(found)}." if found else ""


def _torn(table: Table) -> str:
    """Groups that lie on several sides of the table's own split, found likewise."""
    if not table.has_groups or not table.splits:
        return ""
    if len(set(zip(table.groups, table.side, strict=True))) == len(set(table.groups)):
        return ""
    where: dict[str, dict[str, int]] = {}
    for index, row in enumerate(table.rows):
        group = group_of(row.cells)
        if group is not None:
            where.setdefault(group, {}).setdefault(table.splits[table.side[index]], row.line)
    found = [
        f"'{group}' ({', '.join(f'{split} in line {line}' for split, line in sides.items())})"
        for group, sides in where.items()
        if len(sides) > 1
    ]
    what = "group (patient) lies" if len(found) == 1 else "groups (patients) lie"
    return f"{table.path}: {len(found)} {what} in several splits: {some(found)}." if found else ""
