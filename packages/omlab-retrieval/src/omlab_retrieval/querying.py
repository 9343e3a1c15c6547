"""Embedding the queries, as a run of its own that ends with whatever is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab.engine import Item, Roles, Stages, do_cases
from omlab.formats import named_format
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import Outputs, collect
from omlab.jobs.running import at_work, finish, letting_go, stopped
from omlab.jobs.sources import unlike_log
from omlab.models import ModelRef, untrained_notes
from omlab.roles import Case, Sample
from omlab.runs import Run, open_run
from omlab.session import Prepared
from omlab.settings import complete
from omlab.shards import this_shard
from omlab_payloads.embeddings import open_embeddings
from omlab_retrieval.store import FORMAT, Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "queries.safetensors"

Concluding = Callable[[Run, tuple[str, ...], "NDArray[np.float32]"], None]
"""(run, ids of the queries, their embeddings (Q, D)): writes what comes of them into the run's folder."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that is to be.

    Attributes:
        final: Its folder.
        kind: What it is called in its log.
        request: What makes two runs the same work.
        arguments: How the user put it.
        notes: For the user to see.
    """

    final: Path
    kind: str
    request: Mapping[str, Any]
    arguments: Mapping[str, Any]
    notes: Sequence[str] = field(default_factory=tuple)


def run_queries(
    plan: Plan, store: Store, ref: ModelRef, cases: Sequence[Case], *, batch: int | None, conclude: Concluding
) -> Outcome:
    """Embed those cases that the run has not embedded yet, and conclude with all that were asked for.

    Raises `OmlabError` where nothing could be started, or no case could be embedded.
    """
    run = open_run(plan.final, kind=plan.kind, request=plan.request, arguments=dict(plan.arguments), shard=this_shard())
    with letting_go(run):
        undone = run.undone(cases)
        renamed = dict(zip((case.id for case in undone), unlike_log(undone, run.log), strict=True))
        asked = {renamed.get(case.id, case).id for case in cases}
        missing = run.missing(list(renamed.values()))
    notes = [*plan.notes, *untrained_notes(ref)]

    def whole() -> None:
        collect(run, named_format(FORMAT, "embedding"), FILE)
        ids, vectors = open_embeddings(run.folder / FILE)
        rows = [row for row, id in enumerate(ids) if id in asked]
        if not rows:
            reason = next((record.reason for record in run.log if record.id in asked), "there are no cases")
            raise stopped(f"No query could be embedded: {reason}")
        conclude(run, tuple(ids[row] for row in rows), vectors if len(rows) == len(ids) else vectors[rows])

    with at_work(run):
        for note in notes:
            run.note(note)
        if missing:
            _embed(run, store, ref, missing, batch=batch)
        is_whole = finish(run, whole)
    records = [record for record in run.log if record.id in asked]
    return Outcome(place=run.final, log=records, is_whole=is_whole, notes=notes)


def run_without_queries(plan: Plan, conclude: Callable[[Run], None]) -> Outcome:
    """A run that has no cases of its own, only what is made of the known ones."""
    run = open_run(plan.final, kind=plan.kind, request=plan.request, arguments=dict(plan.arguments))
    with at_work(run):
        for note in plan.notes:
            run.note(note)
        finish(run, lambda: conclude(run))
    return Outcome(place=run.final, notes=plan.notes)


def _embed(run: Run, store: Store, ref: ModelRef, cases: Sequence[Case], *, batch: int | None) -> None:
    session, facts = ref.session(), ref.card.does[store.verb]
    options = complete(facts.options, store.request.get("options", {}), of=f"'{store.verb}' of '{ref.name}'")
    outputs = Outputs(run=run, format=named_format(FORMAT, "embedding"))

    def read_case(case: Case) -> tuple[Sample, Prepared]:
        sample = case.load()
        return sample, session.prepare(store.verb, sample.inputs, **options)

    def apply(many: list[Any]) -> Sequence[Any]:
        return session.apply(store.verb, [prepared for _, prepared in many], **options)

    def write(item: Item, result: Any, folder: Path) -> Roles:
        return outputs.write(item, item.value[0], result, folder)

    stages = Stages(read=read_case, apply=apply, write=write, batch=batch or facts.at_once)
    with closing(outputs):
        do_cases(run, cases, stages, total=len(cases))
