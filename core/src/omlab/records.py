"""The case log of a run, `cases.jsonl`: a line a case; the last line of an id wins, a torn tail is ignored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

Status = Literal["done", "failed"]

_KNOWN: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "status": str,
    "reason": str,
    "inputs": dict,
    "referred": list,
    "outputs": list,
    "warnings": list,
    "values": dict,
    "seconds": (int, float),
    "at": (int, float),
}
_ALWAYS = ("id", "status", "seconds")
"""A line has these even where they are empty or 0."""


class Role(NamedTuple):
    """What a file of a case is: `main`, `beside` or `picture`; its format; the kind of payload that it holds."""

    role: str
    format: str = ""
    kind: str = ""


@dataclass(kw_only=True)
class Record:
    """What became of one case.

    `inputs`: by name, the stamps of its files; `referred`: those of the files that these refer to. `outputs`: rows of
    `path` (relative to the run), `role`, `format` and `kind` (as in `Role`), `size`, `mtime_ns`, `sha256`; of a
    collected output `record`, its place among the records. `values` are those of the job (metrics, rows). `at` is when
    it ended, in seconds since 1970: it tells which of two logs has the last word. `further` keeps what a later omlab
    wrote.
    """

    id: str
    status: Status = "failed"
    reason: str = ""
    inputs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    referred: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    at: float = 0.0
    further: dict[str, Any] = field(default_factory=dict)

    def main(self) -> list[str]:
        """Paths of the main outputs, relative to the run's folder."""
        return [row["path"] for row in self.outputs if row.get("role") == "main" and "path" in row]

    def paths(self) -> set[str]:
        """Paths of all outputs, relative to the run's folder."""
        return {row["path"] for row in self.outputs if "path" in row}

    def to_json(self) -> dict[str, Any]:
        """As a line of the log has it: without what is empty."""
        row = {name: getattr(self, name) for name in _KNOWN}
        kept = {name: value for name, value in row.items() if value or name in _ALWAYS}
        return {**self.further, **kept}

    def to_line(self) -> bytes:
        """A line of the log."""
        return json.dumps(self.to_json(), default=str, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_json(cls, row: Any) -> Record | None:
        """The record that a line of the log holds; None where it holds none."""
        if not isinstance(row, dict) or row.get("status") not in ("done", "failed") or "id" not in row:
            return None
        known = {name: row[name] for name in _KNOWN if name in row}
        if not all(isinstance(value, _KNOWN[name]) for name, value in known.items()):
            return None
        return cls(**known, further={name: value for name, value in row.items() if name not in known})

    @classmethod
    def from_line(cls, line: bytes) -> Record | None:
        """The record of a line; None where it is torn or no record."""
        try:
            return cls.from_json(json.loads(line))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the last line of a case is: which log, at which byte, and when it was written."""

    file: int
    offset: int
    at: float


class CaseLog:
    """Several logs of one run (one for each shard) read as one; lines are found again by their place.

    What is kept in memory is an id and three numbers a case.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: list[Path] = []
        self._places: dict[str, _Place] = {}
        self._open: dict[int, IO[bytes]] | None = None
        self.read()

    def read(self) -> None:
        """Read all logs of the folder again."""
        self._files = sorted(self.folder.glob("cases*.jsonl"))
        self._places = {}
        for number, path in enumerate(self._files):
            for offset, record in _lines(path):
                before = self._places.get(record.id)
                if before is None or before.file == number or before.at <= record.at:
                    self._places[record.id] = _Place(number, offset, record.at)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, id: object) -> bool:
        return id in self._places

    def __iter__(self) -> Iterator[Record]:
        """The records, ordered by id."""
        streams: dict[int, IO[bytes]] = {}
        with ExitStack() as stack:
            for id in sorted(self._places):
                record = self._at(self._places[id], streams, stack)
                if record is not None:
                    yield record

    def get(self, id: str) -> Record | None:
        """The record of a case; None where there is none."""
        place = self._places.get(id)
        if place is None:
            return None
        with ExitStack() as stack:
            return self._at(place, {} if self._open is None else self._open, stack)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep the logs open for many calls of `get`, by one thread."""
        with ExitStack() as stack:
            self._open = {
                number: stack.enter_context(path.open("rb")) for number, path in enumerate(self._files) if path.exists()
            }
            try:
                yield
            finally:
                self._open = None

    def _at(self, place: _Place, streams: dict[int, IO[bytes]], stack: ExitStack) -> Record | None:
        if place.file not in streams:
            streams[place.file] = stack.enter_context(self._files[place.file].open("rb"))
        streams[place.file].seek(place.offset)
        return Record.from_line(streams[place.file].readline())


def _lines(path: Path) -> Iterator[tuple[int, Record]]:
    offset = 0
    with path.open("rb") as stream:
        for line in stream:
            record = Record.from_line(line) if line.endswith(b"\n") else None
            if record is not None:
                yield offset, record
            offset += len(line)


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
