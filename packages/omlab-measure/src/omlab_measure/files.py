"""Measurements as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omlab.errors import InputError, UsageError
from omlab.payloads import Inputs, Payload, describe
from omlab_measure.measurements import Measurements
from omlab_measure.structures import UNITS
from omlab_payloads.cells import Cell, row_writer

HEAD = ("case", "value", "name", "code", "touches_edge", "intensity_unit")
"""Columns of a table before the figures."""


class MeasurementsJson:
    """The format `measurements-json`."""

    def read(self, path: Path, *, kind: str) -> Measurements:
        """The measurements of a file. Raises `InputError` that names it."""
        try:
            value = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
        except (ValueError, RecursionError):
            raise InputError(f"{path} is not JSON: it holds no measurements.") from None
        said = value.get("kind", kind) if isinstance(value, dict) else kind
        if said != kind:
            raise InputError(f"{path} holds {str(said)[:40]}, but {kind} are needed.")
        try:
            return Measurements.from_value(value)
        except UsageError as error:
            raise InputError(f"{path} cannot be used: {error}") from None

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """Indented for readers. Raises `UsageError` for another payload."""
        content = {"kind": Measurements.kind, **checked_kind(payload).to_value()}
        path.write_text(
            json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="backslashreplace"
        )


class MeasurementsCsv:
    """The format `measurements-csv`: a row a structure."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """The table of one case. Raises `UsageError` for another payload."""
        found = checked_kind(payload)
        write_table({found.labelmap: found}, path)


def write_table(cases: Mapping[str, Measurements], path: Path) -> None:
    """A table of the structures of several cases; a figure that none has is no column."""
    names = [name for name in UNITS if any(name in found.units() for found in cases.values())]
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        write = row_writer(stream)
        write([*HEAD, *names])
        for row in _rows(cases):
            write([row.get(name) for name in (*HEAD, *names)])


def _rows(cases: Mapping[str, Measurements]) -> Iterator[dict[str, Cell]]:
    for case, found in cases.items():
        for entry in found.structures:
            code = "" if entry.code is None else f"{entry.code[1]} {entry.code[0]}"
            head = (case, entry.value, entry.name, code, "yes" if entry.touches_edge else "no", found.intensity_unit)
            yield {**dict(zip(HEAD, head, strict=True)), **entry.figures}


def checked_kind(payload: Payload | Any) -> Measurements:
    """The payload. Raises `UsageError` where it is of another kind."""
    if not isinstance(payload, Measurements):
        raise UsageError(f"Files of measurements hold measurements, not a {describe(payload)}.")
    return payload
