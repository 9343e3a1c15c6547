"""Runs of whatever else has cases: judges, benchmarks, checks of files; one case at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omlab import progress
from omlab.digests import digest_of
from omlab.jobs.concluding import REPORT, conclude, stored_report
from omlab.jobs.outcome import Outcome
from omlab.jobs.running import at_work, finish
from omlab.roles import Report, Rows, Sample
from omlab.runs import Run, open_run
from omlab.shards import this_shard
from omlab.warned import kept_by_case


@dataclass(frozen=True, kw_only=True)
class FileCase:
    """A case that is nothing but an id and files (`omlab.roles.Case`); what is done with it reads them itself."""

    id: str
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    group: str | None = None

    def load(self) -> Sample:
        """A sample without inputs."""
        return Sample(id=self.id, inputs={}, group=self.group)


Do = Callable[[FileCase, Path], Mapping[str, Any]]
"""(case, its folder for files) -> values for the log (JSON)."""

Concluding = Callable[[Rows, Path], Report]
"""(`rows` of the values of every case that is done, the run's folder) -> report; writes its page there."""


def run_cases(
    cases: Sequence[FileCase],
    do: Do,
    *,
    output: str | Path | None,
    request: Mapping[str, Any],
    kind: str,
    report: Concluding | None = None,
    prepare: Callable[[Run], None] = lambda run: None,
) -> Outcome:
    """Do cases in a run: resumed, sharded and logged as every run is.

    Args:
        cases: What is to be done, each with the files that it depends on.
        do: Does one; an `OmlabError` fails it alone. What it writes into its folder becomes the run's.
        output: The run's folder; None: one in `omlab-runs/`.
        request: What makes two runs the same work (JSON).
        kind: What the run is called in its log.
        report: Sums up the cases once they are done.
        prepare: Called before the first case, such as to make a place in `run.scratch` for what must not be paid twice.

    Raises:
        OmlabError: When nothing could be started, no case could be done, or nothing more can be written.
    """
    final = Path(output) if output is not None else Path("omlab-runs") / f"{kind}-{digest_of(request)[:8]}"
    run = open_run(final, kind=kind, request=request, arguments={"output": str(output or "")}, shard=this_shard())
    try:
        mine = [case for case in cases if run.shard.holds(case.id)]
        missing = [case for case in mine if not run.is_done(case.id, case.files)]
    except BaseException:
        run.abandon()
        raise
    if run.folder == run.final and not missing and (report is None or (run.folder / REPORT).exists()):
        run.close()
        stored = None if report is None else stored_report(run.final)
        return Outcome(place=run.final, log=run.log, report=stored, was_complete=True)

    reports: list[Report] = []
    ids = {case.id for case in cases}
    with at_work(run), kept_by_case(), progress.bar("cases", total=len(missing)) as advance:
        prepare(run)
        for case in missing:  # in this thread: an interruption stops the work at once
            run.attempt(case.id, files=case.files, work=partial(do, case))
            advance(1)
        is_whole = finish(run, lambda: reports.extend([conclude(run, report, ids=ids)] if report else []))
    return Outcome(place=run.final, log=run.log, report=reports[0] if reports else None, is_whole=is_whole)
