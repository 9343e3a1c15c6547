"""Evaluate: predictions + targets -> report; the predictions made here or taken from a run of `predict`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from typing import Any, cast

from omlab.card_schema import EvaluatorCard, ModelCard, validate
from omlab.datasets import check_split, open_dataset
from omlab.digests import digest_of, paths_digest
from omlab.errors import InputError, PluginError, UsageError
from omlab.files import write_json, writing
from omlab.formats import read
from omlab.jobs.adapt import HISTORY
from omlab.jobs.outcome import Outcome, complete_before
from omlab.jobs.predict import checked_prediction
from omlab.jobs.running import finish, observed, stopped
from omlab.models import ModelRef, find_card, find_model
from omlab.progress import task
from omlab.registry import load_entry, registry
from omlab.roles import Dataset, Evaluator, Metric, Payload, Report, Sample
from omlab.runs import Run, logged_cases, open_run, read_log
from omlab.settings import complete

REPORT = "report.json"

Predictor = Callable[[Sample], Payload]


def evaluate(
    model: str | Path | None,
    data: str,
    *,
    predictions: str | Path | None = None,
    evaluator: str = "segmentation",
    split: str = "test",
    output: str | Path | None = None,
    root: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    data_settings: Mapping[str, Any] | None = None,
    model_settings: Mapping[str, Any] | None = None,
    offline: bool | None = None,
) -> Outcome:
    """Judge a model, or the predictions of an earlier run, on one split of a data set.

    Args:
        model: Name of a model or folder of an adapted one; None where `predictions` are given.
        data: Name of a data set.
        predictions: Folder of a run of `predict` whose case ids are the data set's.
        evaluator: Name of an evaluator.
        split: Split of the data set.
        output: Folder for the report; by default a folder in `omlab-runs/`.
        root: Where the data set's files are.
        weights: A local checkpoint instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        settings: Values for the evaluator's settings.
        data_settings: Values for the data set's settings.
        model_settings: Values for the model's settings.
        offline: True: never fetch weights.

    Raises:
        OmlabError: When it cannot be started or no case could be judged.
    """
    if (model is None) == (predictions is None):
        raise UsageError("Name either a model or a folder of predictions to evaluate.")
    offer = registry().get("evaluator", evaluator)
    card = cast(EvaluatorCard, validate(offer))
    if card.source == "recorded":
        raise UsageError(
            f"'{evaluator}' judges recorded answers, not a model on a data set: run 'omlab evaluate {evaluator}'."
        )
    chosen = complete(card, settings or {})
    judge = cast(Evaluator, load_entry(offer, card.entry)(card, settings=chosen))
    dataset_card, dataset, dataset_settings = open_dataset(data, root=root, settings=data_settings or {})
    check_split(dataset_card, dataset, split)
    if dataset_card.target != card.target:
        raise UsageError(
            f"'{evaluator}' needs {card.target} targets, but '{data}' has {dataset_card.target or 'none'}."
        )
    ref = None
    if model is not None:
        _check_needs_none(find_card(model))
        ref = find_model(model, weights=weights, device=device, settings=model_settings, offline=offline)
        _check_kinds(ref, card, dataset_card.payload)
    request = {
        "command": "evaluate",
        "model": ref.identity() if ref else None,
        "predictions": _identity_of(Path(predictions)) if predictions is not None else None,
        "evaluator": {"name": evaluator, "settings": chosen},
        "data": {"name": data, "settings": dataset_settings, "split": split},
        "device": ref.device if ref else None,
    }
    dataset.prepare()
    digests = {id: paths_digest(dataset.files(id)) for id in dataset.ids(split)}
    final = Path(output) if output is not None else Path("omlab-runs") / f"evaluate-{data}-{digest_of(request)[:8]}"
    arguments = {
        "model": str(model or ""),
        "predictions": str(predictions or ""),
        "data": data,
        "root": str(root or ""),
    }
    run = open_run(final, kind="evaluate", request=request, arguments=arguments, digests=digests)
    if run is None:
        return complete_with_report(final)
    with observed(run):
        predictor = _by_model(ref) if ref else _from_run(Path(cast(str, predictions)), card.prediction)
        _measure(run, dataset, digests, judge, predictor)
        _copy_history(run, Path(model) if model is not None else Path(cast(str, predictions)))
        report = _report(run, judge)
        finish(run)
    return Outcome(place=run.final, cases=run.cases, report=report)


def _measure(run: Run, data: Dataset, digests: Mapping[str, str], judge: Evaluator, predictor: Predictor) -> None:
    with task("cases", total=len(digests)) as advance:
        for id, digest in digests.items():

            def work(folder: Path, id: str = id) -> Mapping[str, Any]:
                sample = data.sample(id)
                rows = judge.measure(sample, predictor(sample), folder=folder)
                return {"rows": [dict(row) for row in rows]}

            if not run.is_done(id, digest):
                run.attempt(id, digest=digest, inputs=list(data.files(id)), work=work)
            advance(1)


def _report(run: Run, judge: Evaluator) -> Report:
    rows = {id: case.values["rows"] for id, case in run.cases.items() if case.status == "done"}
    if not rows:
        reason = next((case.reason for case in run.cases.values()), "the split has no cases")
        raise stopped(f"No case could be judged: {reason}")
    run.save()
    with writing("The report", run.folder):
        report = judge.report(rows, folder=run.folder)
        write_report(report, run.folder)
    return report


def write_report(report: Report, folder: Path) -> None:
    """Write `report.json`: `metrics`, `notes`, and the report's `details` beside them."""
    clash = sorted({"metrics", "notes"} & set(report.details))
    if clash:
        raise PluginError(f"The report has '{clash[0]}' among its details, which is a field of every report.")
    whole = {"metrics": [asdict(m) for m in report.metrics], "notes": list(report.notes), **report.details}
    write_json(folder / REPORT, whole)


def _by_model(ref: ModelRef) -> Predictor:
    model = ref.load()
    return lambda sample: checked_prediction(ref, model, sample.payload)


def _from_run(folder: Path, kind: str) -> Predictor:
    log = read_log(folder)
    assert log is not None  # _identity_of has read it
    cases = logged_cases(log)

    def predicted(sample: Sample) -> Payload:
        case = cases.get(sample.id)
        if case is None or case.status != "done":
            why = f": {case.reason}" if case else ""
            raise InputError(f"The run {folder} has no prediction for the case '{sample.id}'{why}.")
        return read(folder / case.values["prediction"], kind=kind)

    return predicted


def _identity_of(predictions: Path) -> dict[str, Any]:
    log = read_log(predictions)
    if log is None or log.get("run") != "predict":
        raise InputError(f"{predictions} is not the folder of a finished 'omlab predict' run.")
    return {"model": log["request"]["model"], "results": [row["results"] for row in log["cases"]]}


def _check_kinds(ref: ModelRef, card: EvaluatorCard, payload: str) -> None:
    if ref.card.gives != card.prediction:
        raise UsageError(f"'{card.name}' judges a {card.prediction}, but '{ref.name}' gives a {ref.card.gives}.")
    if ref.card.takes != payload:
        raise UsageError(f"'{ref.name}' takes a {ref.card.takes}, but the data set has a {payload}.")


def _check_needs_none(card: ModelCard) -> None:
    if card.needs_prompts:
        raise UsageError(
            f"'{card.name}' predicts what it is pointed at: predict with prompts or simulated clicks first, then "
            "evaluate the run's folder with --predictions."
        )


def _copy_history(run: Run, source: Path) -> None:
    """Bring along how the model was trained, for the report's loss curve."""
    if not (source / HISTORY).is_file():
        source = Path((read_log(source) or {}).get("arguments", {}).get("model", ""))
    if (source / HISTORY).is_file():
        copyfile(source / HISTORY, run.folder / HISTORY)


def complete_with_report(final: Path) -> Outcome:
    """The outcome of an evaluation that was complete when it was started again."""
    before = complete_before(final)
    try:
        stored = json.loads((final / REPORT).read_text(encoding="utf-8"))
        metrics, notes = [Metric(**row) for row in stored.pop("metrics")], stored.pop("notes")
        report = Report(metrics=metrics, notes=notes, details=stored)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{final / REPORT} is missing or damaged; remove the folder and evaluate again.") from None
    return Outcome(place=final, cases=before.cases, report=report, was_complete=True)
