"""Cells of CSV tables: text that a spreadsheet would take for a formula gets an apostrophe in front.

Spreadsheets run what begins with `=`, `+`, `-`, `@`, a tab or a carriage return when such a file is opened.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from typing import IO

Cell = str | float | None

_RISKY = re.compile(r"'*[=+\-@\t\r]")


def escaped(text: str) -> str:
    """The text as a cell that no spreadsheet runs."""
    return f"'{text}" if _RISKY.match(text) else text


def unescaped(cell: str) -> str:
    """The text of a cell that `escaped` made."""
    return cell[1:] if cell.startswith("'") and _RISKY.match(cell) else cell


def row_writer(stream: IO[str]) -> Callable[[Sequence[Cell]], None]:
    """Writes rows of a CSV table: text escaped, numbers so that they come back the same, nothing for None."""
    plain = csv.writer(stream, lineterminator="\n")
    careful = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(row: Sequence[Cell]) -> None:
        cells = ["" if cell is None else escaped(cell) if isinstance(cell, str) else repr(cell) for cell in row]
        # a carriage return ends a row too, but csv quotes only what ends its own rows
        (careful if any("\r" in cell for cell in cells) else plain).writerow(cells)

    return write
