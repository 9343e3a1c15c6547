"""Rows of a table, CSV or JSON lines: streamed in one pass, each found again by where it begins.

A table of a million rows is never in memory: what is kept of a row is its place in the file.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from omlab.errors import InputError
from omlab.json_lines import json_object

CSV, JSON_LINES = (".csv",), (".jsonl", ".ndjson")


class Row(NamedTuple):
    """A row: its cells by column, the line that it begins in (from 1) and the bytes that it takes."""

    cells: dict[str, Any]
    line: int
    start: int
    stop: int


class Stamp(NamedTuple):
    """What a file was when it was first read."""

    size: int
    mtime_ns: int


class Rows:
    """The rows of the table in `path`.

    Raises `InputError` where it is no table: another suffix, not UTF-8, no header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_csv = path.name.lower().endswith(CSV)
        if path.is_dir() or not (self._is_csv or path.name.lower().endswith(JSON_LINES)):
            what = "a folder" if path.is_dir() else "of another format"
            raise InputError(f"{path} is {what}: a table of cases is a .csv or .jsonl file.")
        with self._open() as stream:
            self.stamp = _stamp_of(stream)
            self.columns: tuple[str, ...] = tuple(_header(stream, path)) if self._is_csv else ()

    def __iter__(self) -> Iterator[Row]:
        """All rows in their order; blank lines are passed over. Raises `InputError` that names file and line."""
        with self._open() as stream:
            self._check(stream)
            yield from self._csv_rows(stream) if self._is_csv else self._json_rows(stream)

    def at(self, start: int, stop: int, *, line: int) -> Row:
        """The row in these bytes. Raises `InputError` where the file was changed since it was first read."""
        with self._open(buffering=0) as stream:
            self._check(stream)
            stream.seek(start)
            text = stream.read(stop - start)
        if not self._is_csv:
            return Row(json_object(text, path=self.path, number=line), line, start, stop)
        cells = next(_reader(io.StringIO(text.decode("utf-8"), newline="")))
        return Row(dict(zip(self.columns, cells, strict=True)), line, start, stop)

    def _csv_rows(self, stream: IO[bytes]) -> Iterator[Row]:
        lines = _Lines(stream, self.path)
        reader = _reader(lines)
        _next_cells(reader, lines, self.path)  # the header
        while True:
            start, line = lines.position, lines.number + 1
            cells = _next_cells(reader, lines, self.path)
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(self.columns):
                raise InputError(
                    f"{self.path}, line {line} has {len(cells)} cells, but the header has {len(self.columns)} columns: "
                    "put a cell with a comma in double quotes."
                )
            yield Row(dict(zip(self.columns, cells, strict=True)), line, start, lines.position)

    def _json_rows(self, stream: IO[bytes]) -> Iterator[Row]:
        stop = 0
        for number, line in enumerate(stream, start=1):
            start, stop = stop, stop + len(line)
            if line.strip():
                yield Row(json_object(line, path=self.path, number=number), number, start, stop)

    def _open(self, **how: Any) -> IO[bytes]:
        try:
            stream: IO[bytes] = self.path.open("rb", **how)
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}.") from None
        return stream

    def _check(self, stream: IO[bytes]) -> None:
        if _stamp_of(stream) != self.stamp:
            raise InputError(f"{self.path} was changed while it was in use: run the same command again.")


class _Lines:
    """The lines of a file as text, and how far they were read."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.position, self.number = 0, 0
        self._stream, self._path = stream, path

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._stream)
        self.position += len(line)
        self.number += 1
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{self._path}, line {self.number} is not UTF-8 text: save it as CSV in UTF-8.") from None


def _header(stream: IO[bytes], path: Path) -> list[str]:
    lines = _Lines(stream, path)
    cells = _next_cells(_reader(lines), lines, path)
    if not cells:
        raise InputError(f"{path} is empty: a table begins with a line of column names.")
    names = [cell.strip() for cell in cells]
    if len(names) == 1 and any(mark in names[0] for mark in (";", "\t")):
        raise InputError(f"{path} has another separator than the comma: save it as CSV with commas.")
    for place, name in enumerate(names, start=1):
        if not name:
            raise InputError(f"{path}, line 1: column {place} has no name.")
        if names.count(name) > 1:
            raise InputError(f"{path}, line 1: there are {names.count(name)} columns '{name}'.")
    return names


def _reader(lines: Iterable[str]) -> Iterator[list[str]]:
    return csv.reader(lines, strict=True, skipinitialspace=True)


def _next_cells(reader: Iterator[list[str]], lines: _Lines, path: Path) -> list[str] | None:
    line = lines.number + 1
    try:
        return next(reader, None)
    except csv.Error as error:
        raise InputError(f"{path}, line {line} is no line of a CSV file: {error}.") from None


def _stamp_of(stream: IO[bytes]) -> Stamp:
    facts = os.fstat(stream.fileno())
    return Stamp(facts.st_size, facts.st_mtime_ns)
