"""The case log of a run, `cases.jsonl`: a line a case; the last line of an id wins, a torn tail is ignored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

Status = Literal["done", "failed"]

_KNOWN = ("id", "status", "reason", "inputs", "outputs", "warnings", "values", "seconds")


@dataclass(kw_only=True)
class Record:
    """What became of one case.

    `inputs`: by name, the stamps of its files. `outputs`: rows of `path` (relative to the run), `role` (main, beside,
    picture), `format`, `size`, `mtime_ns`, `sha256`; of a collected output `record`, its place among the records.
    `values` are those of the job (metrics, rows). `further` keeps what a later omlab wrote.
    """

    id: str
    status: Status = "failed"
    reason: str = ""
    inputs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    further: dict[str, Any] = field(default_factory=dict)

    def main(self) -> list[str]:
        """Paths of the main outputs, relative to the run's folder."""
        return [row["path"] for row in self.outputs if row.get("role") == "main" and "path" in row]

    def to_line(self) -> bytes:
        """A line of the log."""
        row = {name: getattr(self, name) for name in _KNOWN}
        kept = {name: value for name, value in row.items() if value not in ("", [], {}) or name in ("id", "status")}
        return json.dumps({**self.further, **kept}, default=str, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Record | None:
        """The record of a line; None where it is torn or no record."""
        try:
            row = json.loads(line)
        except ValueError:
            return None
        if (
            not isinstance(row, dict)
            or not isinstance(row.get("id"), str)
            or row.get("status") not in ("done", "failed")
        ):
            return None
        known = {name: row[name] for name in _KNOWN if name in row}
        return cls(**known, further={name: value for name, value in row.items() if name not in known})


class CaseLog:
    """Several logs of one run (one for each shard) read as one; lines are found again by their place.

    What is kept in memory is an id and two numbers a case.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: list[Path] = []
        self._places: dict[str, tuple[int, int]] = {}
        self.read()

    def read(self) -> None:
        """Read all logs of the folder again, older ones first."""
        self._files = sorted(self.folder.glob("cases*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        self._places = {}
        for number, path in enumerate(self._files):
            for offset, record in _lines(path):
                self._places[record.id] = (number, offset)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, id: object) -> bool:
        return id in self._places

    def __iter__(self) -> Iterator[Record]:
        """The records, ordered by id."""
        streams: dict[int, IO[bytes]] = {}
        try:
            for id in sorted(self._places):
                number, offset = self._places[id]
                if number not in streams:
                    streams[number] = self._files[number].open("rb")
                record = _at(streams[number], offset)
                if record is not None:
                    yield record
        finally:
            for stream in streams.values():
                stream.close()

    def get(self, id: str) -> Record | None:
        """The record of a case; None where there is none."""
        if id not in self._places:
            return None
        number, offset = self._places[id]
        with self._files[number].open("rb") as stream:
            return _at(stream, offset)


def _lines(path: Path) -> Iterator[tuple[int, Record]]:
    offset = 0
    with path.open("rb") as stream:
        for line in stream:
            record = Record.from_line(line) if line.endswith(b"\n") else None
            if record is not None:
                yield offset, record
            offset += len(line)


def _at(stream: IO[bytes], offset: int) -> Record | None:
    stream.seek(offset)
    return Record.from_line(stream.readline())


def mend_tail(path: Path) -> None:
    """Cut off a line that a killed process left half written, so that the next one stands alone."""
    with path.open("rb+") as stream:
        size = stream.seek(0, 2)
        if not size:
            return
        stream.seek(size - 1)
        if stream.read(1) == b"\n":
            return
        stream.seek(0)
        end = 0
        for line in stream:
            end += len(line) if line.endswith(b"\n") else 0
        stream.truncate(end)


def records_by_id(folder: Path) -> Mapping[str, Record]:
    """All records of a run's folder in memory: for runs of a size that fits."""
    return {record.id: record for record in CaseLog(folder)}
