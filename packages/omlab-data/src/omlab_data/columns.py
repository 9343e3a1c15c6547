"""What the columns of a table mean: which is an input, of which kind, and whether a cell holds a path or the value.

`NAME:KIND` says the kind; the cell is the value itself where payloads of that kind are made of values (`from_value`),
else a path. Without a kind the cells are paths, of the kind that the column is called by where a format reads the first
file so, else of the first kind that a format reads it as.
`NAME.SETTING` says a setting of the format of the input NAME row by row, such as `slide.mpp`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omlab.card_schema import PayloadCard, validate
from omlab.cases import Source
from omlab.errors import InputError, UnknownNameError
from omlab.formats import format_cards, kinds_of, read_format, suffix_of
from omlab.registry import load_entry, registry
from omlab.suggest import did_you_mean

ID, TARGET, GROUP, SPLIT = "id", "target", "group", "split"
RESERVED = (ID, TARGET, GROUP, SPLIT)
CLASSES, SCORES = "classes", "scores"
SEPARATOR = ";"
"""Between the files of one cell, which are channels, and between the classes of one."""
MULTI_LABEL = 0.5
"""The threshold of targets where a case may have several classes."""
ENTRY = "#"
"""Between a file of many entries and the key of one."""

_WORD = re.compile(r"^[a-z][a-z0-9_]*$")
_SETTING = re.compile(r"^([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)$")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of inputs or targets.

    Attributes:
        header: As the table has it.
        name: Of the input; `target` for targets.
        kind: "": not known yet.
        is_value: Whether a cell holds the input itself.
        many: Whether files hold many entries: a cell `PATH#KEY` names one, else the case's id does.
        several: Whether a cell may name several classes.
        settings: Columns (`NAME.SETTING`) that say a setting of its files' format row by row, by the setting.
    """

    header: str
    name: str
    kind: str = ""
    is_value: bool = False
    many: bool = False
    several: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def source(self, cells: Mapping[str, Any], *, folder: Path, id: str, classes: Sequence[str] = ()) -> Source | None:
        """Where the payload of a row's cell comes from; None for an empty cell."""
        cell = cells.get(self.header)
        if is_empty(cell):
            return None
        if self.is_value:
            return Source(kind=self.kind, value=self._value(cell, classes))
        parts = paths_in(cell)
        own = {name: cells[header] for name, header in self.settings.items() if not is_empty(cells.get(header))}
        if not self.many:
            return Source(kind=self.kind, paths=tuple(folder / part for part in parts), own=own)
        path, key = entry_in(parts[0])
        return Source(kind=self.kind, paths=(folder / path,), key=key or id, own=own)

    def _value(self, cell: Any, classes: Sequence[str]) -> Any:
        if self.name == TARGET and self.kind == CLASSES:
            right = class_names(cell)
            value = {"probabilities": {name: float(name in right) for name in classes}}
            return value | ({"threshold": MULTI_LABEL} if self.several else {})
        if self.name == TARGET and self.kind == SCORES:
            return {"values": numbers_in(cell)}
        return cell


def is_empty(cell: Any) -> bool:
    """Whether a cell says nothing."""
    return cell is None or cell == [] or (isinstance(cell, str) and not cell.strip())


def paths_in(cell: Any) -> list[str]:
    """The paths in a cell. Raises `ValueError` where it is neither a text nor a list of texts."""
    parts = cell.split(SEPARATOR) if isinstance(cell, str) else cell
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{cell!r} is no path")
    return [part.strip() for part in parts if part.strip()]


def entry_in(part: str) -> tuple[str, str]:
    """The file and the key, which may be empty, of `PATH#KEY`."""
    path, _, key = part.partition(ENTRY)
    return path, key


def class_name(cell: Any) -> str:
    """A cell as the name of a class."""
    return str(cell).strip()


def class_names(cell: Any) -> list[str]:
    """The classes of a cell: one, or several in a list or with a semicolon between them."""
    parts = cell if isinstance(cell, list) else class_name(cell).split(SEPARATOR)
    return [name for part in parts if (name := class_name(part))]


def columns_of(headers: Sequence[str], *, path: Path, meta: Sequence[str]) -> tuple[list[Column], Column | None]:
    """The inputs and the target among the column names of the table `path`, as far as their headers tell.

    Raises `InputError` for a name that no input can have, a kind that there is not, or a table without ids or inputs.
    """
    where = f"{path}, line 1"
    if ID not in headers:
        alike = next((f"call the column '{name}' so." for name in headers if name.lower() == ID), None)
        hint = alike or did_you_mean(ID, headers, none="there is no other.")
        raise InputError(f"{where}: there is no column '{ID}': {hint}")
    absent = [name for name in meta if name not in headers]
    if absent:
        raise InputError(f"{where}: there is no column '{absent[0]}', which the setting meta names.")
    columns = []
    settings: dict[str, dict[str, str]] = {}
    for header in headers:
        if header not in meta and (match := _SETTING.fullmatch(header)):
            settings.setdefault(match[1], {})[match[2]] = header
            continue
        name, colon, kind = header.partition(":")
        if header in meta or (name in RESERVED and name != TARGET and not colon):
            continue
        if name in RESERVED and name != TARGET:
            raise InputError(f"{where}: the column '{header}' has no kind: call it '{name}'.")
        if not _WORD.fullmatch(name):
            raise InputError(
                f"{where}: '{header}' cannot be the name of an input (small letters, digits and _): call it otherwise, "
                f"or keep it beside the cases with -s data.meta={header}."
            )
        columns.append(Column(header=header, name=name, kind=kind, is_value=_is_value(name, kind, where=where)))
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{where}: there are {names.count(twice[0])} columns '{twice[0]}'.")
    inputs = [column for column in columns if column.name != TARGET]
    if not inputs:
        raise InputError(f"{where}: there is no column of an input beside {', '.join(headers)}.")
    unknown = next((name for name in settings if name not in names), None)
    if unknown is not None:
        header = next(iter(settings[unknown].values()))
        raise InputError(f"{where}: the column '{header}' is a setting of '{unknown}', which is no input here.")
    inputs = [replace(column, settings=settings.get(column.name, {})) for column in inputs]
    return inputs, next((column for column in columns if column.name == TARGET), None)


def _is_value(name: str, kind: str, *, where: str) -> bool:
    if not kind:
        return False
    if name == TARGET and kind in (CLASSES, SCORES):
        return True
    try:
        offer = registry().get("payload", kind)
    except UnknownNameError as error:
        raise InputError(f"{where}, column '{name}:{kind}': {error}") from None
    card = validate(offer)
    assert isinstance(card, PayloadCard)
    return hasattr(load_entry(offer, card.entry), "from_value")


def file_column(column: Column, path: Path, *, table: Path, line: int, unlike: Sequence[str] = ()) -> Column:
    """The column with the kind that its first file, `path` in `line`, is read as; for a target rather none of `unlike`.

    Raises `InputError` where no format reads it.
    """
    kind = column.kind
    if not kind:
        try:
            kinds = kinds_of(path)
        except InputError as error:
            raise InputError(
                f"{table}, line {line}, column '{column.header}': {error} A column that is no input is kept beside the "
                f"cases with -s data.meta={column.header}; one that holds values says their kind, "
                f"{column.header}:KIND."
            ) from None
        fitting = [kind for kind in kinds if kind == column.name] or [kind for kind in kinds if kind not in unlike]
        kind = (fitting or kinds)[0]
    return replace(column, kind=kind, many=read_format(path, kind).many)


def names_a_file(cell: Any, *, folder: Path) -> bool:
    """Whether a cell names a file: one that is there, or has the suffix of a format.

    A folder does not count: where images lie in folders of classes, a class has the name of one.
    """
    try:
        parts = paths_in(cell)
    except ValueError:
        return False
    first, _ = entry_in(parts[0])
    return bool(suffix_of(Path(first), [card for card in format_cards() if card.reads])) or (folder / first).is_file()


def reads_it(kind: str, cell: Any) -> bool:
    """Whether a cell is the name of a file that a format reads as that kind, where it could be a value too."""
    if not isinstance(cell, str) or kind in (CLASSES, SCORES):
        return False
    return bool(suffix_of(Path(cell), [card for card in format_cards() if kind in card.reads]))


def numbers_in(cell: Any) -> dict[str, float] | None:
    """The numbers of a cell by name: one, or JSON such as `{"time": 12.5, "event": 1}`; None: it is neither."""
    if is_number(cell):
        return {TARGET: float(cell)}
    if isinstance(cell, str) and cell.strip().startswith("{"):
        try:
            cell = json.loads(cell)
        except ValueError:
            return None
    if not isinstance(cell, dict) or not cell or not all(map(is_number, cell.values())):
        return None
    return {str(name): float(value) for name, value in cell.items()}


def is_number(cell: Any) -> bool:
    """Whether a cell is a number, and finite."""
    try:
        return not isinstance(cell, bool) and math.isfinite(float(cell))
    except (TypeError, ValueError):
        return False
