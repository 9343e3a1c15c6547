"""Runs of whatever else has cases: judges, benchmarks, checks of files; one case at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omlab import progress
from omlab.digests import digest_of
from omlab.errors import PluginError, UsageError
from omlab.files import remove, replacing, writing
from omlab.jobs.concluding import REPORT, conclude, stored_report
from omlab.jobs.outcome import Outcome
from omlab.jobs.running import at_work, finish, letting_go
from omlab.records import Role
from omlab.roles import Report, Rows, Sample
from omlab.run_folder import CASES
from omlab.runs import Run, open_run
from omlab.shards import this_shard
from omlab.stamps import parts_of
from omlab.warned import kept_by_case


@dataclass(frozen=True, kw_only=True)
class FileCase:
    """A case that is nothing but an id and files (`omlab.roles.Case`); what is done with it reads them itself.

    `sampled` names those of the files that are too large to be read through: they are told by sampled blocks.
    """

    id: str
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    group: str | None = None
    sampled: Sequence[str] = ()

    def load(self) -> Sample:
        """A sample without inputs."""
        return Sample(id=self.id, inputs={}, group=self.group)


Do = Callable[[FileCase, Path], Mapping[str, Any]]
"""(case, its folder for files) -> values for the log (JSON)."""

Concluding = Callable[[Rows, Path], Report]
"""(`rows` of the values of every case that is done, in their order; the run's folder) -> report; writes its page."""


def run_cases(
    cases: Sequence[FileCase],
    do: Do,
    *,
    output: str | Path | None,
    request: Mapping[str, Any],
    kind: str,
    arguments: Mapping[str, Any] | None = None,
    report: Concluding | None = None,
    role: Callable[[str], Role] | None = None,
    prepare: Callable[[Run], None] = lambda run: None,
) -> Outcome:
    """Do cases in a run: resumed, sharded and logged as every run is.

    The run is of these cases: one that an earlier start did and that is not among them is taken out, files and all.

    ```python
    def count(case, folder):
        text = case.files["text"][0].read_text()
        return {"rows": [{"words": len(text.split())}]}

    def total(rows, folder):
        words = sum(row["words"] for case in rows.values() for row in case)
        return Report(metrics=[Metric(name="words", value=words, n=len(rows))])

    cases = [FileCase(id=path.stem, files={"text": [path]}) for path in paths]
    outcome = run_cases(cases, count, output="counted", request={"command": "count"}, kind="count", report=total)
    ```

    Args:
        cases: What is to be done, each with the files that it depends on.
        do: Does one, in this thread; an `OmlabError` fails it alone. What it writes into its folder becomes the run's.
        output: The run's folder; None: one in `omlab-runs/`.
        request: What makes two runs the same work (JSON).
        kind: What the run is called in its log.
        arguments: How the user put it, for the log alone (JSON).
        report: Sums up the cases once they are done.
        role: What a file of a case is, by its name (main, beside, picture; format, kind); without it all are main.
        prepare: Called before the first case, such as to make a place in `run.scratch` for what must not be paid twice.

    Raises:
        OmlabError: When nothing could be started, no case could be done, or nothing more can be written.
    """
    ids = _ids(cases)
    final = Path(output) if output is not None else Path("omlab-runs") / f"{kind}-{digest_of(request)[:8]}"
    said = {**(arguments or {}), "output": str(output or "")}
    run = open_run(final, kind=kind, request=request, arguments=said, shard=this_shard())
    with letting_go(run):
        missing = run.missing(cases)
    if not missing and _is_complete(run, ids, has_report=report is not None):
        run.close()
        stored = None if report is None else stored_report(run.final)
        return Outcome(place=run.final, log=run.log, report=stored, was_complete=True)

    reports: list[Report] = []

    def whole() -> None:
        _forget_others(run, ids)
        if report is not None:
            reports.append(conclude(run, lambda rows, folder: report(_in_order(rows, cases), folder)))

    with at_work(run), kept_by_case(), progress.bar("cases", total=len(missing)) as advance:
        prepare(run)
        for case in missing:  # in this thread: an interruption stops the work at once
            run.attempt(case.id, files=parts_of(case), work=partial(do, case), role=role, sampled=case.sampled)
            advance(1)
        is_whole = finish(run, whole)
    return Outcome(place=run.final, log=run.log, report=reports[0] if reports else None, is_whole=is_whole)


def _in_order(rows: Rows, cases: Sequence[FileCase]) -> Rows:
    return {case.id: rows[case.id] for case in cases if case.id in rows}


def _ids(cases: Sequence[FileCase]) -> set[str]:
    if not cases:
        raise UsageError("There is nothing to do: no cases were given.")
    ids: set[str] = set()
    for case in cases:
        if case.id in ids:
            raise PluginError(f"There are two cases '{case.id}': each needs an id of its own.")
        ids.add(case.id)
    return ids


def _is_complete(run: Run, ids: Collection[str], *, has_report: bool) -> bool:
    """Whether the run has its name, knows of no other cases, and has its report."""
    return run.is_whole and len(run.log) == len(ids) and (not has_report or (run.final / REPORT).exists())


def _forget_others(run: Run, ids: Collection[str]) -> None:
    """Take out what the run, whose logs are one by now, knows of other cases; their files first."""
    others = [record for record in run.log if record.id not in ids]
    if not others:
        return
    path = run.folder / f"{CASES}.jsonl"
    with writing("The run log", path):
        for record in others:
            for row in record.outputs:
                if "path" in row:
                    remove(run.folder / row["path"])
        with replacing(path) as temporary, temporary.open("wb") as stream:
            stream.writelines(record.to_line() for record in run.log if record.id in ids)
    run.log.read()
