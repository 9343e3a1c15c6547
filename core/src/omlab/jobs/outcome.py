"""What a job comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omlab.roles import Report
from omlab.runs import Case, logged_cases, read_log


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where the results are, the cases by id, the report where there is one, and pictures that were asked for."""

    place: Path
    cases: Mapping[str, Case]
    report: Report | None = None
    was_complete: bool = False
    pictures: Sequence[Path] = ()

    @property
    def failed(self) -> list[Case]:
        """The cases that failed."""
        return [case for case in self.cases.values() if case.status == "failed"]

    @property
    def exit_status(self) -> int:
        """0: every case is done; 1: some failed."""
        return 1 if self.failed else 0


def complete_before(place: Path) -> Outcome:
    """The outcome of a run that was complete when it was started again."""
    log = read_log(place)
    assert log is not None  # whoever found the run complete has read its log
    return Outcome(place=place, cases=logged_cases(log), was_complete=True)
