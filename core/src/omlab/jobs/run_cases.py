"""The engine for whatever else has cases: judges, benchmarks, checks of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omlab.engine import Item, Roles, Stages, do_cases
from omlab.jobs.outcome import Outcome
from omlab.jobs.running import at_work, finish, letting_go
from omlab.roles import Sample
from omlab.runs import Run, open_run
from omlab.shards import this_shard


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


def run_cases(
    cases: Sequence[FileCase],
    do: Do,
    *,
    output: str | Path,
    request: Mapping[str, Any],
    kind: str,
    whole: Callable[[Run], None] = lambda run: None,
    prepare: Callable[[Run], None] = lambda run: None,
) -> Outcome:
    """Do cases in a run: resumed, sharded and logged as every run is.

    Args:
        cases: What is to be done, each with the files that it depends on.
        do: Does one; an `OmlabError` fails it alone. What it writes into its folder becomes the run's.
        output: The run's folder.
        request: What makes two runs the same work (JSON).
        kind: What the run is called in its log.
        whole: Makes what is of all cases, in `run.folder`, once they are done.
        prepare: Called before the first case, such as to make a place in `run.scratch` for what must not be paid twice.

    Raises:
        OmlabError: When nothing could be started or nothing more can be written.
    """
    run = open_run(Path(output), kind=kind, request=request, arguments={"output": str(output)}, shard=this_shard())
    with letting_go(run):
        missing = run.missing(cases)
    if run.is_whole and not missing:
        run.close()
        return Outcome(place=run.final, log=run.log, was_complete=True)

    def write(item: Item, result: Any, folder: Path) -> Roles:
        item.record.values.update(do(result, folder))
        return {}

    stages = Stages(read=lambda case: case, apply=lambda batch: batch, write=write)
    with at_work(run):
        prepare(run)
        do_cases(run, missing, stages, total=len(missing))
        is_whole = finish(run, lambda: whole(run))
    return Outcome(place=run.final, log=run.log, is_whole=is_whole)
