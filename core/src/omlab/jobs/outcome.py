"""What a job comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from omlab.records import CaseLog, Record
from omlab.roles import Report


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where the results are, what became of each case, the report where there is one, and pictures asked for.

    `is_whole` false: other shards of the run are still at work. `has_warned`: the warnings of its cases were shown when
    they came. `notes` are for the user to see.
    """

    place: Path
    log: CaseLog | Sequence[Record] = ()
    report: Report | None = None
    was_complete: bool = False
    is_whole: bool = True
    has_warned: bool = False
    pictures: Sequence[Path] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    def __iter__(self) -> Iterator[Record]:
        """The records of the cases, ordered by id; read one by one from the log."""
        return iter(self.log)

    @cached_property
    def cases(self) -> Mapping[str, Record]:
        """The records by id, all at once."""
        return {record.id: record for record in self.log}

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many cases are done and how many failed."""
        done = sum(record.status == "done" for record in self.log)
        return done, len(self.log) - done

    @property
    def failed(self) -> list[Record]:
        """The cases that failed."""
        return [record for record in self.log if record.status == "failed"]

    @property
    def exit_status(self) -> int:
        """0: every case is done; 1: some failed."""
        return 1 if self.counts[1] else 0
