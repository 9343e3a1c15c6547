"""CSV: a row a case, for classes and scores; UTF-8, commas, the id in the first column."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from omlab.errors import InputError, UsageError
from omlab.payloads import Inputs, Payload
from omlab_payloads.cells import row_writer, unescaped
from omlab_payloads.columns import ID, numeric, payload_of
from omlab_payloads.kinds import LONE, stem
from omlab_payloads.lines import Stamp, place_of, places, read_lines, stamp_of
from omlab_payloads.table import packed, spooled


class CsvTable:
    """The format `csv`."""

    def index(self, path: Path) -> Sequence[str]:
        """The ids in the file's order. Raises `InputError` for a row that is too short or long, or an id twice."""
        return tuple(places(path, _find))

    def read(self, path: Path, *, kind: str, key: str | None = None) -> Payload:
        """The payload with the id `key`, or the only one. Raises `InputError` that names the file."""
        start = place_of(path, key, places(path, _find))
        heading = _heading(stamp_of(path))
        _, cells = next(_rows(path, start=start), (start, []))
        where = f"{path}, entry '{key}'" if key is not None else str(path)
        wanted = numeric(heading, kind=kind)
        pairs = zip(heading, cells, strict=False)
        row = {column: _number(cell, column=column, where=where) for column, cell in pairs if column in wanted}
        try:
            return payload_of(row, kind=kind)
        except UsageError as error:
            raise InputError(f"{where} cannot be used: {error}") from None

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A table of one row, whose id is the file's name."""
        self.collect([(stem(path), self.pack(payload))], path)

    def pack(self, payload: Payload) -> bytes:
        """The record of one case."""
        return packed(payload)

    def collect(self, records: Iterable[tuple[str, bytes]], path: Path) -> None:
        """Write a row for each record, in their order; texts that a spreadsheet would run are made harmless."""
        with (
            spooled(records, beside=path) as table,
            path.open("w", newline="", encoding="utf-8", errors=LONE) as stream,
        ):
            write = row_writer(stream)
            write(table.columns)
            for row in table.rows:
                write([row.get(column) for column in table.columns])


def _number(cell: str, *, column: str, where: str) -> float | None:
    if not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError:
        raise InputError(f"{where} has '{cell[:40]}' in the column '{column}', which must be a number.") from None


@lru_cache(maxsize=8)
def _heading(stamp: Stamp) -> tuple[str, ...]:
    _, cells = next(_rows(stamp.path), (0, []))
    return _columns(cells, path=stamp.path)


def _columns(cells: Sequence[str], *, path: Path) -> tuple[str, ...]:
    columns = tuple(unescaped(cell) for cell in cells)
    if ID not in columns:
        raise InputError(f"{path} has no column '{ID}'; its first line has {', '.join(columns[:5]) or 'nothing'}.")
    if len(set(columns)) != len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise InputError(f"{path} has two columns '{twice}'.")
    return columns


def _find(path: Path) -> Iterator[tuple[str, int]]:
    rows = _rows(path)
    _, cells = next(rows, (0, []))
    columns = _columns(cells, path=path)
    place = columns.index(ID)
    for offset, cells in rows:
        if len(cells) != len(columns):
            found = cells[place] if place < len(cells) else ""
            raise InputError(f"{path}, entry '{found}' has {len(cells)} cells, but there are {len(columns)} columns.")
        yield unescaped(cells[place]), offset


def _rows(path: Path, *, start: int = 0) -> Iterator[tuple[int, list[str]]]:
    """The rows, each with the byte that it begins at; a row may go over several lines. Blank lines are left out."""
    position = start

    def lines() -> Iterator[str]:
        nonlocal position
        for line in read_lines(path, start=start):
            position = line.end
            yield line.text

    reader = csv.reader(lines(), strict=True)
    while True:
        began = position
        try:
            cells = next(reader, None)
        except csv.Error:
            raise InputError(
                f"{path} is no table of comma-separated values: near byte {began} a row is broken."
            ) from None
        if cells is None:
            return
        if cells:
            yield began, cells
