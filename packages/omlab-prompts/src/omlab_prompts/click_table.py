"""The scores of simulated clicks as a CSV table: `object`, `round`, `dice`, and what else a model says of a round."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from omlab.errors import InputError, UsageError
from omlab.payloads import Inputs, Payload, describe
from omlab_payloads.cells import row_writer, unescaped
from omlab_prompts.simulation import COLUMNS, ClickScores


class ClickTable:
    """The format `clicks-csv`."""

    def read(self, path: Path, *, kind: str) -> ClickScores:
        """The rows. Raises `InputError` that names the file and the line."""
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream, strict=True)
                lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
                if lacking:
                    raise InputError(f"{path} has no column '{lacking[0]}': it is no table of simulated clicks.")
                return ClickScores(rows=[_row(row, where=f"{path}, line {reader.line_num}") for row in reader])
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
        except (csv.Error, UnicodeDecodeError):
            raise InputError(f"{path} is no table of comma-separated values.") from None
        except UsageError as error:
            raise InputError(f"{path} cannot be used: {error}") from None

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A table. Raises `UsageError` for another payload."""
        if not isinstance(payload, ClickScores):
            raise UsageError(f"A table of simulated clicks holds click-scores, not a {describe(payload)}.")
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            write = row_writer(stream)
            write(payload.columns)
            for row in payload.rows:
                write([row.get(name) for name in payload.columns])


def _row(cells: dict[str | Any, Any], *, where: str) -> dict[str, Any]:
    if None in cells or None in cells.values():
        raise InputError(f"{where} has more or fewer cells than there are columns.")
    row = {unescaped(name): _value(cell) for name, cell in cells.items()}
    return row | {"object": unescaped(cells["object"])}


def _value(cell: str) -> Any:
    for number in (int, float):
        try:
            return number(cell)
        except ValueError:
            continue
    return unescaped(cell) if cell else None
