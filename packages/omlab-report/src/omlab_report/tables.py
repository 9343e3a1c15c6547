"""CSV tables that may be opened in a spreadsheet: no cell is run as a formula.

A name from outside (of a model, a case, a class) may begin with what a spreadsheet takes for a formula. An apostrophe
before it makes it text; numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_cell(value: Any) -> Any:
    """The value for a cell: text that a spreadsheet would run has an apostrophe before it, None is an empty cell."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and _would_run(value) else value


def plain_cell(text: str) -> str:
    """The text that `safe_cell` was given."""
    return text[1:] if text.startswith("'") and _would_run(text[1:]) else text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV table of safe cells, lines ended by a line feed."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerows([safe_cell(value) for value in row] for row in (header, *rows))
    return stream.getvalue()


def _would_run(text: str) -> bool:
    """Also of a text that has apostrophes before it, so that taking one away leads back."""
    bare = text.lstrip("'")
    return bare.startswith(_FORMULA) and not (bare == text and _is_number(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return not text[0].isspace()
