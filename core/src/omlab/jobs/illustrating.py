"""What a model looked at, for the cases that a report shows: its verb `explain`, asked after all is measured."""

from __future__ import annotations

from collections.abc import Sequence

from omlab.abilities import Illustrates
from omlab.errors import OmlabError
from omlab.jobs.sources import cases_of_data
from omlab.models import ModelRef
from omlab.roles import Case, Dataset, Evaluator
from omlab.runs import Run
from omlab.settings import complete

EXPLAIN = "explain"


def explained_cases(
    ref: ModelRef, judge: Evaluator, dataset: Dataset, split: str, *, name: str, inputs: frozenset[str]
) -> Sequence[Case]:
    """The cases of a split as `explain` reads them; none where the model or the evaluator does without.

    Args:
        ref: The model.
        judge: The evaluator.
        dataset: The data set.
        split: Its split.
        name: Of the data set.
        inputs: Those that the judged verb takes: one that `explain` needs besides is not there to be given.
    """
    facts = ref.card.does.get(EXPLAIN)
    if facts is None or not isinstance(judge, Illustrates) or not inputs.issuperset(facts.required):
        return ()
    return cases_of_data(dataset, split, facts, model=ref.name, name=name)


def illustrate(run: Run, judge: Evaluator, ref: ModelRef, cases: Sequence[Case]) -> None:
    """Hand the evaluator what `explain` gives for the cases that it shows; those it gives nothing for are noted."""
    if not cases or not isinstance(judge, Illustrates):
        return
    rows = {record.id: record.values["rows"] for record in run.log if record.status == "done"}
    shown = set(judge.illustrated(rows))
    session, options = ref.session(), complete(ref.card.does[EXPLAIN].options, {}, of=EXPLAIN)
    for case in cases:
        if case.id not in shown:
            continue
        try:
            [found] = session.apply(EXPLAIN, [case.load().inputs], **options)
            if isinstance(found, OmlabError):
                raise found
            judge.illustrate(case.id, found, run.folder)
        except OmlabError as error:
            run.note(f"{case.id} has no picture of what the model looked at: {error}")
