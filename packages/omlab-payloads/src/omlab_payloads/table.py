"""Rows of many cases on their way into a table: kept in a file until all columns are known."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from omlab.errors import OutputError
from omlab_payloads.cells import Cell
from omlab_payloads.columns import ID, row_of

MOST_COLUMNS = 10_000


class Table(NamedTuple):
    """The columns of all rows in the order in which they came, and the rows, which can be gone through once."""

    columns: list[str]
    rows: Iterator[dict[str, Cell]]


def packed(payload: object) -> bytes:
    """The record of one case: its row as JSON."""
    return json.dumps(row_of(payload)).encode()


@contextmanager
def spooled(records: Iterable[tuple[str, bytes]], *, beside: Path) -> Iterator[Table]:
    """The table that records (id, `packed`) make. Cases may have different columns; memory holds one row.

    Raises `OutputError` where there are more columns than any table can have.
    """
    columns = dict.fromkeys([ID])
    with tempfile.TemporaryFile(dir=beside.parent) as stream:
        for id, record in records:
            row = json.loads(record)
            columns |= dict.fromkeys(row)
            if len(columns) > MOST_COLUMNS:
                raise OutputError(
                    f"{beside.name} would have more than {MOST_COLUMNS:,} columns, as the cases have different names: "
                    "write one JSON line a case (--as jsonl)."
                )
            stream.write(json.dumps({ID: id, **row}).encode() + b"\n")
        stream.seek(0)
        yield Table(list(columns), _rows(stream))


def _rows(stream: IO[bytes]) -> Iterator[dict[str, Cell]]:
    for line in stream:
        yield json.loads(line)
