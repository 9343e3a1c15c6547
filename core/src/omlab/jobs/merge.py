"""Merge: end a run whose shards will not all come to their end, with the cases that are done."""

from __future__ import annotations

from pathlib import Path

from omlab.errors import InputError
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import collect, collects
from omlab.run_folder import partial_of, read_log
from omlab.runs import Run, open_run


def merge(place: str | Path) -> Outcome:
    """Merge the logs of a sharded run, collect its results and give it its name.

    Evaluations are ended by starting `omlab evaluate` again without OMLAB_SHARD, as their report is the evaluator's.

    Raises `InputError` where there is no such run, `OutputError` where a process is still at work on it.
    """
    final = Path(place).absolute()
    found = next((folder for folder in (final, partial_of(final)) if read_log(folder) is not None), None)
    if found is None:
        raise InputError(f"{place} is no run of omlab, finished or not.")
    log = read_log(found) or {}
    run = open_run(final, kind=log["run"], request=log["request"], arguments=log.get("arguments", {}))
    run.begin()
    run.conclude(lambda: _collect(run))
    return Outcome(place=run.final, log=run.log)


def _collect(run: Run) -> None:
    found = collects(run)
    if found is not None:
        collect(run, *found)
