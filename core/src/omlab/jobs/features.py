"""The feature store: what a verb gives for many cases, kept in a run and made once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from omlab.digests import digest_of
from omlab.engine import Item, Roles, Stages, do_cases
from omlab.errors import UsageError
from omlab.formats import default_format
from omlab.jobs.outputs import Outputs, collect
from omlab.jobs.running import at_work, finish, letting_go, stopped
from omlab.payloads import an
from omlab.roles import Case
from omlab.runs import open_run
from omlab.session import Session
from omlab.settings import decisive


def features(session: Session, verb: str, cases: Sequence[Case], *, folder: str | Path, **options: Any) -> Path:
    """What `verb` gives for `cases`, in one file, made once: probes, k-NN, retrieval, MIL and outlier scores read it.

    It is a run keyed by the model's identity: cases whose files are as they were are not done again.

    Args:
        session: The model.
        verb: Such as `embed`; what it gives has a format that collects.
        cases: Their inputs bear the names of the verb's.
        folder: Holds the runs, one for each model.
        options: Of the verb.

    Returns:
        The file that holds all of them, by case id.

    Raises:
        UsageError: What the verb gives is not collected by any format.
        OmlabError: A case failed; says which and why.
    """
    facts, chosen = session.verb(verb), session.options(verb, options)
    card = default_format(facts.gives)
    if facts.gives not in card.collects:
        raise UsageError(
            f"'{session.name}' gives {an(facts.gives)} by '{verb}', which no format collects into one file."
        )
    suffix = max(card.suffixes, key=len)
    options = decisive(facts.options, chosen)
    request = {"command": verb, "model": session.identity, "options": options, "format": card.name}
    final = Path(folder) / f"{verb}-{digest_of(request)[:16]}"
    arguments = {"collected": {"path": f"{verb}{suffix}", "format": card.name}}
    run = open_run(final, kind=verb, request=request, arguments=arguments)
    with letting_go(run):
        missing = run.missing(cases)
    if run.is_whole and not missing and (final / f"{verb}{suffix}").is_file():
        run.close()
        return final / f"{verb}{suffix}"
    outputs = Outputs(run=run, format=card, suffix=suffix)

    def read_case(case: Case) -> Any:
        sample = case.load()
        inputs = {name: sample.inputs[name] for name in facts.takes if name in sample.inputs}
        return sample, session.prepare(verb, inputs, **chosen)

    def write(item: Item, result: Any, place: Path) -> Roles:
        return outputs.write(item, item.value[0], result, place)

    stages = Stages(
        read=read_case,
        apply=lambda batch: session.apply(verb, [prepared for _, prepared in batch], **chosen),
        write=write,
        batch=facts.at_once,
    )
    with at_work(run):
        with closing(outputs):
            do_cases(run, missing, stages, total=len(missing), what="features")
        run.log.read()
        wanted = {case.id for case in cases}
        wrong = next((record for record in run.log if record.status == "failed" and record.id in wanted), None)
        if wrong is not None:
            raise stopped(f"Case '{wrong.id}' has no {facts.gives}: {wrong.reason}")
        finish(run, lambda: collect(run, card, f"{verb}{suffix}"))
    return final / f"{verb}{suffix}"
