"""Evaluate: a model on a split, or the results of an earlier run, + targets -> report. The engine does the cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any, cast

from omlab.adapted import HISTORY
from omlab.arguments import path_of, table_of
from omlab.card_schema import EvaluatorCard, FormatCard, ModelCard, Verb, validate
from omlab.cards import Card
from omlab.datasets import DataRef, open_dataset
from omlab.devices import sort_of
from omlab.digests import digest_of, file_digest
from omlab.engine import Item, Roles, Stages, do_cases
from omlab.errors import InputError, OmlabError, UsageError
from omlab.formats import format_cards, implementation, read, read_format
from omlab.jobs.concluding import REPORT, conclude, stored_report
from omlab.jobs.illustrating import explained_cases, illustrate
from omlab.jobs.outcome import Outcome
from omlab.jobs.running import at_work, finish, letting_go
from omlab.jobs.sources import cases_of_data
from omlab.models import ModelRef, Needs, find_card, find_model
from omlab.payloads import Payload, Telling, an, keeps
from omlab.records import CaseLog, Role
from omlab.registry import load_entry, registry
from omlab.roles import Case, Evaluator, Report, Sample
from omlab.run_folder import LOG, read_log, read_log_file
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
        predictions: Folder of a run, or a file of many results, whose case ids are the data set's.
        evaluator: Name of an evaluator; by default the one for the data set's task.
        verb: The verb to judge; by default the one that gives what the evaluator judges.
        split: Split of the data set.
        output: Folder for the report; by default a folder in `omlab-runs/`.
        root: Where the data set's files are.
        weights: A local checkpoint instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        settings: Values of the evaluator's settings by name; `model.X` and `data.X` go there.
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
    given = by_home(settings, {"evaluator": card.settings, "model": None, "data": None}, plain=("evaluator",))
    chosen = complete(card.settings, given["evaluator"], of=f"the evaluator '{card.name}'")
    judge = cast(Evaluator, load_entry(offer, card.entry)(card, settings=chosen))
    answers: _ByModel | _OfRun | _OfFile
    if model is not None:
        verb = choose_verb(find_card(model), card, verb, name=str(model))
        ref = find_model(model, weights=weights, device=device, settings=given["model"], needs=needs, offline=offline)
        facts = ref.card.does[verb]
        cases = cases_of_data(source.dataset, split, facts, model=str(model), name=source.name, mapped=mapped)
        explained = explained_cases(ref, judge, source.dataset, split, name=source.name, inputs=frozenset(facts.takes))
        answers = _ByModel(ref=ref, verb=verb, facts=facts, batch=batch or facts.at_once, explained=explained)
    else:
        cases = source.dataset.cases(split)
        made, kinds = path_of(predictions, "The predictions"), [card.judges, *card.also]
        answers = _OfFile(made, kinds) if made.is_file() else _OfRun(made, kinds)
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
    return _in_run(run, cases, judge, answers, history=Path(model or cast(str, predictions)))


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
    judged = " or ".join(an(kind) for kind in kinds)
    if verb is not None:
        if verb not in model.does or model.does[verb].gives not in kinds:
            gives = model.does[verb].gives if verb in model.does else "nothing"
            raise UsageError(f"'{card.name}' judges {judged}, but '{verb}' of '{name}' gives {gives}.")
        return verb
    of_kinds = ([verb for verb, facts in model.does.items() if facts.gives == kind] for kind in kinds)
    fitting = next(filter(None, of_kinds), [])
    if len(fitting) != 1:
        what = (
            f"has several verbs that give one: name one with --verb ({', '.join(fitting)})" if fitting else "gives none"
        )
        raise UsageError(f"'{card.name}' judges {judged}, but '{name}' {what}.")
    return fitting[0]


_Opened = tuple[Callable[[Sample], Any], Callable[[list[Any]], Sequence[Any]]]
"""What a reader makes of a sample, and what gives the results of a batch of those."""


@dataclass(frozen=True, kw_only=True)
class _ByModel:
    """Results that a model gives."""

    ref: ModelRef
    verb: str
    facts: Verb
    batch: int
    explained: Sequence[Case]

    @property
    def name(self) -> str:
        return self.ref.name

    def request(self) -> dict[str, Any]:
        return {"model": self.ref.identity(), "verb": self.verb, "device": sort_of(self.ref.device)}

    def open(self) -> _Opened:
        session, options = self.ref.session(), complete(self.facts.options, {}, of=self.verb)
        return (
            lambda sample: session.prepare(self.verb, sample.inputs, **options),
            lambda batch: session.apply(self.verb, batch, **options),
        )

    def illustrate(self, run: Run, judge: Evaluator) -> None:
        illustrate(run, judge, self.ref, self.explained)


class _OfRun:
    """The results of an earlier run, by the ids of its cases."""

    batch = 1

    def __init__(self, folder: Path, kinds: Sequence[str]) -> None:
        log = read_log(folder)
        if log is None or log.get("finished") is None or "model" not in log["request"]:
            raise InputError(f"{folder} is not the folder of a finished run of a model, such as 'omlab predict' makes.")
        self.folder, self.run, self.log = folder, log, CaseLog(folder)
        self.name = str(log["request"]["model"]["name"])
        self.kind = kinds[0] if len(kinds) == 1 else self._kind_of(kinds)

    def request(self) -> dict[str, Any]:
        digest = digest_of([[record.id, record.status, record.outputs] for record in self.log])
        return {"model": self.run["request"]["model"], "predictions": digest}

    def open(self) -> _Opened:
        return self._result, lambda batch: batch

    def illustrate(self, run: Run, judge: Evaluator) -> None:
        """Nothing: there is no model to ask."""

    def _kind_of(self, kinds: Sequence[str]) -> str:
        """Which of the kinds the run gave, by the card of its model; the first where that model is gone."""
        try:
            does = find_card(self.run["arguments"]["model"]).does
        except OmlabError:
            return kinds[0]
        verb = self.run["request"]["command"]
        return does[verb].gives if verb in does and does[verb].gives in kinds else kinds[0]

    def _result(self, sample: Sample) -> Payload:
        record = self.log.get(sample.id)
        if record is None or record.status != "done":
            why = f": {record.reason}" if record else ""
            raise InputError(f"The run {self.folder} has no result for the case '{sample.id}'{why}.")
        collected = self.run.get("collected")
        if collected:
            card = next(card for card in format_cards() if card.name == collected["format"])
            return implementation(card).read(self.folder / collected["path"], kind=self.kind, key=sample.id)
        result = read(self.folder / record.main()[0], kind=self.kind)
        return cast(Payload, result.telling(record.values)) if record.values and keeps(result, Telling) else result


class _OfFile:
    """The results in one file of many, by the ids of their cases: of omlab, or of whoever else writes such."""

    batch = 1

    def __init__(self, path: Path, kinds: Sequence[str]) -> None:
        self.path = path
        self.kind, self.card = self._read_as(kinds)
        log = read_log_file(path.with_name(f"{path.name}.{LOG}")) or {"request": {}}
        self.model: Mapping[str, Any] = log["request"].get("model") or {"name": path.stem}
        self.name = str(self.model["name"])

    def request(self) -> dict[str, Any]:
        return {"model": self.model, "predictions": file_digest(self.path)}

    def open(self) -> _Opened:
        return lambda sample: self._result(sample.id), lambda batch: batch

    def illustrate(self, run: Run, judge: Evaluator) -> None:
        """Nothing: there is no model to ask."""

    def _read_as(self, kinds: Sequence[str]) -> tuple[str, FormatCard]:
        """The first of the kinds that the first entry of the file can be read as. Raises `InputError`."""
        errors = []
        for kind in kinds:
            card = read_format(self.path, kind)
            if not card.many:
                raise InputError(f"{self.path} holds one result: name the folder of a run, or a file of many.")
            format = implementation(card)
            try:
                format.read(self.path, kind=kind, key=format.index(self.path)[0])  # type: ignore[attr-defined]
            except InputError as error:
                errors.append(error)
            else:
                return kind, card
        raise errors[0]

    def _result(self, id: str) -> Payload:
        return implementation(self.card).read(self.path, kind=self.kind, key=id)


def _in_run(
    run: Run, cases: Sequence[Case], judge: Evaluator, answers: _ByModel | _OfRun | _OfFile, *, history: Path
) -> Outcome:
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


def _measure(run: Run, cases: Sequence[Case], judge: Evaluator, answers: _ByModel | _OfRun | _OfFile) -> None:
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
        read=read_case, apply=lambda batch: apply([part for _, part in batch]), write=write, batch=answers.batch
    )
    do_cases(run, cases, stages, total=len(cases))


def _copy_history(run: Run, source: Path) -> None:
    """Bring along how the model was trained, for the report's loss curve."""
    if not (source / HISTORY).is_file():
        source = Path((read_log(source) or {}).get("arguments", {}).get("model", ""))
    if (source / HISTORY).is_file():
        copyfile(source / HISTORY, run.folder / HISTORY)
