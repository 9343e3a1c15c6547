"""Checks of evaluators: rows, reports, and that cases are judged one by one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from omlab import Report, Sample
from omlab.card_schema import EvaluatorCard
from omlab.errors import OmlabError
from omlab_testkit.checks import check
from omlab_testkit.compare import ROUNDING, difference
from omlab_testkit.loading import quiet
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.subjects import CardSubject

Rows = dict[str, Sequence[Mapping[str, Any]]]


@check(of="evaluator")
def evaluator_judges_examples(subject: CardSubject, folder: Path) -> None:
    """Each example result gives JSON rows, the same beside whatever other cases; odd ones are judged or refused."""
    card = cast(EvaluatorCard, subject.card)
    samples, results = _examples(subject)
    evaluator = _evaluator(subject)
    rows = _measured(evaluator, subject, samples, results, folder)
    alone: Rows = {}
    for sample, result in [*zip(samples, results, strict=True)][::-1]:
        alone |= _measured(_evaluator(subject), subject, [sample], [result], folder)
    found = difference({id: alone[id] for id in rows}, rows, where="they")
    if found:
        raise PromiseError(f"The rows of '{card.name}' depend on other cases or on the turn: {found}.")
    for what, odd in subject.odd(card.judges).items():
        try:
            with quiet():
                evaluator.measure(samples[0], odd, folder)
        except OmlabError:
            continue
        except Exception as error:
            message = f"'{card.name}' raises {type(error).__name__} for a result that is {what}: {error}"
            raise PromiseError(message) from error


@check(of="evaluator")
def evaluator_reports(subject: CardSubject, folder: Path) -> None:
    """A report is JSON, its intervals hold its values, and the order of the cases changes no figure."""
    card = cast(EvaluatorCard, subject.card)
    samples, results = _examples(subject)
    evaluator = _evaluator(subject)
    rows = _measured(evaluator, subject, samples, results, folder)
    reports = [
        _reported(_evaluator(subject), subject, some, folder / f"report-{number}")
        for number, some in enumerate((rows, dict(reversed(rows.items())), {id: rows[id] for id in list(rows)[:1]}))
    ]
    for metric in reports[0].metrics:
        figures = [x for x in (metric.low, metric.value, metric.high) if x is not None]
        if any(not math.isfinite(figure) for figure in figures) or figures != sorted(figures):
            raise PromiseError(f"'{card.name}': {metric.name} is {metric.value} in {metric.low}..{metric.high}.")
    names = [(metric.name, metric.label) for metric in reports[0].metrics]
    if not names or len(set(names)) != len(names):
        raise PromiseError(f"'{card.name}' reports the metrics {names}: there must be some, each once.")
    both = [{str(key): asdict(m) for key, m in zip(names, r.metrics, strict=False)} for r in reports[:2]]
    found = difference(both[1], both[0], tolerance=ROUNDING, where="its metrics")
    if found:
        raise PromiseError(f"The report of '{card.name}' depends on the order of cases: {found}.")


def _examples(subject: CardSubject) -> tuple[list[Sample], list[Any]]:
    """Samples with example targets, and results to judge: the targets themselves where those are of the kind."""
    card = cast(EvaluatorCard, subject.card)
    own = subject.own("judged")
    if own is not None:
        samples, results = own
        return list(samples), list(results)
    targets, results = list(subject.examples(card.target)), list(subject.examples(card.judges))
    if len(targets) != len(results):
        raise PromiseError(f"There are {len(targets)} example targets but {len(results)} results for '{card.name}'.")
    samples = [
        Sample(id=f"example-{n}", inputs={"input": target}, target=target, group=f"group-{n}")
        for n, target in enumerate(targets)
    ]
    return samples, results


def _evaluator(subject: CardSubject) -> Any:
    return subject.entry(subject.card, settings=subject.settings)


def _measured(
    evaluator: Any, subject: CardSubject, samples: Sequence[Sample], results: Sequence[Any], folder: Path
) -> Rows:
    rows: Rows = {}
    for sample, result in zip(samples, results, strict=True):
        place = folder / f"{sample.id}-{len(list(folder.iterdir()))}"
        place.mkdir()
        try:
            with quiet():
                found = [dict(row) for row in evaluator.measure(sample, result, place)]
            rows[sample.id] = json.loads(json.dumps(found, allow_nan=False))
        except OmlabError as error:
            raise PromiseError(f"'{subject.name}' cannot judge {sample.id}: {error}") from None
        except (TypeError, ValueError) as error:
            raise PromiseError(f"Rows of '{subject.name}' are not JSON: {error}.") from error
    if not rows:
        raise CannotCheckError(f"there is no example for '{subject.name}'")
    return rows


def _reported(evaluator: Any, subject: CardSubject, rows: Rows, folder: Path) -> Report:
    folder.mkdir()
    with quiet():
        report = evaluator.report(rows, folder)
    if not isinstance(report, Report):
        raise PromiseError(f"'{subject.name}' reports a {type(report).__name__}, not an omlab.Report.")
    try:
        json.dumps([asdict(report)], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PromiseError(f"The report of '{subject.name}' is not JSON: {error}.") from None
    return report
