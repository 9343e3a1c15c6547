"""Evaluate: a model on a split, or the results of an earlier run, + targets -> report. The engine does the cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile
from typing import Any, cast

from omlab.adapted import HISTORY
from omlab.arguments import path_of, table_of
from omlab.card_schema import EvaluatorCard, ModelCard, Verb, validate
from omlab.cards import Card
from omlab.datasets import DataRef, open_dataset
from omlab.devices import sort_of
from omlab.digests import digest_of
from omlab.engine import Item, Roles, Stages, do_cases
from omlab.errors import InputError, UsageError
from omlab.identities import part, untrained_in
from omlab.jobs.concluding import REPORT, conclude, stored_report
from omlab.jobs.illustrating import explained_cases, illustrate
from omlab.jobs.outcome import Outcome
from omlab.jobs.predictions import Given, Opened, open_predictions
from omlab.jobs.running import at_work, finish, letting_go
from omlab.jobs.sources import cases_of_data
from omlab.models import UNTRAINED_NOTE, ModelRef, Needs, find_card, find_model
from omlab.payloads import Telling, keeps
from omlab.records import Role
from omlab.registry import load_entry, registry
from omlab.roles import Case, Evaluator, Report, Sample
from omlab.run_folder import read_log
from omlab.runs import Run, open_run
from omlab.settings import by_home, complete, decisive
from omlab.shards import this_shard


def evaluate(
    model: str | Path | None,
    data: str,
    *,
    predictions: str | Path | None = None,
    evaluator: str | None = None,
    verb: str | None = None,
    split: str = "test",
    output: str | Path | None = None,
    root: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    needs: Needs | None = None,
    mapped: Mapping[str, str] | None = None,
    batch: int | None = None,
    offline: bool | None = None,
) -> Outcome:
    """Judge a model, or the results of an earlier run, on one split of a data set.

    Args:
        model: Name of a model or folder of an adapted one; None where `predictions` are given.
        data: Name of a data set, or `NAME:PATH` for own files.
        predictions: Folder of a run, or a file of many results, whose case ids are the data set's, or a folder of
            files that are named by its cases. Where no run made them the report says that nobody knows their model.
        evaluator: Name of an evaluator; by default the one for the data set's task.
        verb: The verb to judge; by default the one that gives what the evaluator judges.
        split: Split of the data set.
        output: Folder for the report; by default a folder in `omlab-runs/`.
        root: Where the data set's files are.
        weights: A local checkpoint instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        settings: Values of the evaluator's settings by name; `model.X` and `data.X` go there, `options.X` to the verb.
        needs: Other models for those that the card needs.
        mapped: The verb's names of inputs to the data set's, where they cannot be told.
        batch: How many cases at once; by default what the card says.
        offline: True: never fetch weights.

    Raises:
        OmlabError: When it cannot be started or no case could be judged.
    """
    if (model is None) == (predictions is None):
        raise UsageError("Name either a model or a folder of predictions to evaluate.")
    settings = table_of(settings, "The settings")
    for_data = by_home({k: v for k, v in settings.items() if k.startswith("data.")}, {"data": None}, plain=())
    source = open_dataset(data, root=root, settings=for_data["data"])
    source.check_split(split)
    source.dataset.prepare()
    offer, card = choose_evaluator(evaluator, source, split)
    homes = {"evaluator": card.settings, "options": None, "model": None, "data": None}
    given = by_home(settings, homes, plain=("evaluator",), own=("batch", "device", "weights", "split"))
    chosen = complete(card.settings, given["evaluator"], of=f"the evaluator '{card.name}'")
    judge = cast(Evaluator, load_entry(offer, card.entry)(card, settings=chosen))
    answers: _ByModel | Given
    if model is not None:
        verb = choose_verb(find_card(model), card, verb, name=str(model))
        ref = find_model(model, weights=weights, device=device, settings=given["model"], needs=needs, offline=offline)
        facts = ref.card.does[verb]
        cases = cases_of_data(source.dataset, split, facts, model=str(model), name=source.name, mapped=mapped)
        explained = explained_cases(ref, judge, source.dataset, split, name=source.name, inputs=frozenset(facts.takes))
        options = complete(facts.options, given["options"], of=f"'{verb}' of '{model}'")
        answers = _ByModel(
            ref=ref, verb=verb, facts=facts, options=options, batch=batch or facts.at_once, explained=explained
        )
    else:
        if given["options"]:
            raise UsageError(f"options.{next(iter(given['options']))} is a verb's, but no model is asked here.")
        cases = source.dataset.cases(split)
        answers = open_predictions(
            path_of(predictions, "The predictions"),
            [card.judges, *card.also],
            cases=[one.id for one in cases],
        )
    request = {
        "command": "evaluate",
        **answers.request(),
        "evaluator": {"name": card.name, "settings": decisive(card.settings, chosen)},
        "data": source.identity(split),
    }
    final = (
        Path(output)
        if output is not None
        else Path("omlab-runs") / f"evaluate-{source.card.name}-{digest_of(request)[:8]}"
    )
    arguments = {"model": answers.name, "predictions": str(predictions or ""), "data": data, "root": str(root or "")}
    run = open_run(final, kind="evaluate", request=request, arguments=arguments, shard=this_shard())
    outcome = _in_run(run, cases, judge, answers, history=Path(model or cast(str, predictions)))
    untrained = dict.fromkeys(untrained_in(part(request, "model")))
    return replace(outcome, notes=[UNTRAINED_NOTE.format(name=name) for name in untrained])


def choose_evaluator(name: str | None, source: DataRef, split: str) -> tuple[Card, EvaluatorCard]:
    """The evaluator of that name, or the one for the task of the data: its card for targets of the data's kind.

    Raises `UsageError` where none, or more than one, is for the task, or the targets are of another kind.
    """
    about = source.dataset.about(split)
    task = about.task or source.card.task or ""
    catalogue = registry()
    if name is None:
        found = [card for card in catalogue.cards("evaluator") if card.data.get("task") == task]
        fitting = [card for card in found if cast(EvaluatorCard, validate(card)).against(about.target)] or found
        if len(fitting) != 1:
            known = ", ".join(card.name for card in fitting or catalogue.cards("evaluator")) or "none installed"
            many = "several evaluators are" if fitting else "no evaluator is"
            raise UsageError(
                f"'{source.name}' has the task '{task or 'unknown'}', for which {many} there: "
                f"name one with --evaluator ({known})."
            )
        name = fitting[0].name
    offer = catalogue.get("evaluator", name)
    whole = cast(EvaluatorCard, validate(offer))
    card = whole.against(about.target)
    if card is None:
        wanted = " or ".join(dict.fromkeys([whole.target, *whole.also.values()]))
        raise UsageError(f"'{name}' needs {wanted} targets, but '{source.name}' has {about.target or 'none'}.")
    return offer, card


def choose_verb(model: ModelCard, card: EvaluatorCard, verb: str | None, *, name: str) -> str:
    """The verb whose results the evaluator judges: those of its first kind, else of the next.

    Raises `UsageError` where there is none, or several.
    """
    kinds = [card.judges, *card.also]
    judged = " or ".join(kinds)
    if verb is not None:
        if verb not in model.does or model.does[verb].gives not in kinds:
            gives = model.does[verb].gives if verb in model.does else "nothing"
            raise UsageError(f"'{card.name}' judges {judged}, but '{verb}' of '{name}' gives {gives}.")
        return verb
    of_kinds = ([verb for verb, facts in model.does.items() if facts.gives == kind] for kind in kinds)
    fitting = next(filter(None, of_kinds), [])
    if len(fitting) != 1:
        given = " and ".join(sorted({facts.gives for facts in model.does.values()}))
        several = f"several verbs that give it: name one with --verb ({', '.join(fitting)})"
        what = f"has {several}" if fitting else f"gives {given or 'nothing'}"
        raise UsageError(f"'{card.name}' judges {judged}, but '{name}' {what}.")
    return fitting[0]


@dataclass(frozen=True, kw_only=True)
class _ByModel:
    """Results that a model gives."""

    ref: ModelRef
    verb: str
    facts: Verb
    options: Mapping[str, Any]
    batch: int
    explained: Sequence[Case]

    @property
    def name(self) -> str:
        return self.ref.name

    def request(self) -> dict[str, Any]:
        options = decisive(self.facts.options, self.options)
        told = {"options": options} if options else {}
        return {"model": self.ref.identity(), "verb": self.verb, **told, "device": sort_of(self.ref.device)}

    def open(self) -> Opened:
        session = self.ref.session()
        return (
            lambda sample: session.prepare(self.verb, sample.inputs, **self.options),
            lambda batch: session.apply(self.verb, batch, **self.options),
        )

    def illustrate(self, run: Run, judge: Evaluator) -> None:
        illustrate(run, judge, self.ref, self.explained)


def _in_run(run: Run, cases: Sequence[Case], judge: Evaluator, answers: _ByModel | Given, *, history: Path) -> Outcome:
    with letting_go(run):
        missing = run.missing(cases)
    if run.is_whole and not missing and (run.folder / REPORT).exists():
        run.close()
        return Outcome(place=run.final, log=run.log, report=stored_report(run.final), was_complete=True)
    reports: list[Report] = []
    with at_work(run):
        if missing:
            _measure(run, missing, judge, answers)

        def whole() -> None:
            _copy_history(run, history)
            answers.illustrate(run, judge)
            reports.append(conclude(run, judge.report))

        is_whole = finish(run, whole)
    return Outcome(place=run.final, log=run.log, report=reports[0] if reports else None, is_whole=is_whole)


def _measure(run: Run, cases: Sequence[Case], judge: Evaluator, answers: _ByModel | Given) -> None:
    prepare, apply = answers.open()

    def read_case(case: Case) -> tuple[Sample, Any]:
        sample = case.load()
        if sample.target is None:
            raise InputError(f"Case '{case.id}' has no target to compare with.")
        return sample, prepare(sample)

    def write(item: Item, result: Any, folder: Path) -> Roles:
        rows = judge.measure(item.value[0], result, folder)
        told = dict(result.tells()) if keeps(result, Telling) else {}
        item.record.values |= told | {"rows": [dict(row) for row in rows]}
        return {path.relative_to(folder).as_posix(): Role("picture") for path in folder.rglob("*") if path.is_file()}

    stages = Stages(
        read=read_case,
        apply=lambda batch: apply([part for _, part in batch]),
        write=write,
        batch=answers.batch,
        inputs_of=lambda read: read[0].inputs,
    )
    do_cases(run, cases, stages, total=len(cases))


def _copy_history(run: Run, source: Path) -> None:
    """Bring along how the model was trained, for the report's loss curve."""
    model = (read_log(source) or {}).get("arguments", {}).get("model")
    if model and not (source / HISTORY).is_file():
        source = Path(model)
    if (source / HISTORY).is_file():
        copyfile(source / HISTORY, run.folder / HISTORY)
