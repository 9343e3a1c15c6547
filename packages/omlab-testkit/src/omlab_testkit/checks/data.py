"""Checks of data sets and evaluators."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import DatasetCard, EvaluatorCard
from omlab.errors import OmlabError, UsageError
from omlab.roles import Report, Sample
from omlab_testkit import examples
from omlab_testkit.checks import check
from omlab_testkit.checks.errors import refusal
from omlab_testkit.checks.predict import no_network
from omlab_testkit.compare import difference
from omlab_testkit.kit import CardSubject
from omlab_testkit.outcome import CannotCheckError, PromiseError


@check(of="dataset")
def dataset_is_what_its_card_says(subject: CardSubject, folder: Path) -> None:
    """Splits are those of the card, without a case in two of them; samples have the card's kinds."""
    card = cast(DatasetCard, subject.card)
    data = _prepared(subject, card, folder)
    if sorted(data.splits()) != sorted(card.splits):
        raise PromiseError(f"'{card.name}' has the splits {list(data.splits())}, its card says {card.splits}.")
    seen: dict[str, str] = {}
    for split in card.splits:
        ids = list(data.ids(split))
        if ids != list(data.ids(split)):
            raise PromiseError(f"The cases of split '{split}' of '{card.name}' come in another order each time.")
        for case in ids:
            if case in seen:
                raise PromiseError(f"Case '{case}' of '{card.name}' is in '{seen[case]}' and in '{split}'.")
            seen[case] = split
        if ids:
            _check_sample(card, data, ids[0])
    refusal(lambda: data.ids("omlab-testkit"), what=f"An unknown split of '{card.name}'", wanted=UsageError)
    refusal(lambda: data.sample("omlab-testkit"), what=f"An unknown case of '{card.name}'")


def _prepared(subject: CardSubject, card: DatasetCard, folder: Path) -> Any:
    """The data set, made twice over (which must be safe) and found whole."""
    given = examples.dataset_root(card.name, tests=subject.tests)
    data = subject.entry(card, root=given or folder / "data", settings=subject.settings)
    if given is None:
        with no_network() as attempts:
            try:
                data.prepare()
                data.prepare()
            except OmlabError as error:
                if attempts:
                    raise CannotCheckError(
                        f"'{card.name}' is fetched from elsewhere; give dataset_root in tests/examples.py"
                    ) from None
                raise PromiseError(f"'{card.name}' cannot be prepared: {error}") from None
    problems = list(data.verify())
    if problems:
        raise PromiseError(f"'{card.name}' finds itself damaged once prepared: {problems[0]}")
    return data


def _check_sample(card: DatasetCard, data: Any, id: str) -> None:
    sample = data.sample(id)
    if sample.id != id:
        raise PromiseError(f"Case '{id}' of '{card.name}' comes as '{sample.id}'.")
    for what, thing, wanted in (("payload", sample.payload, card.payload), ("target", sample.target, card.target)):
        kind = getattr(thing, "kind", None)
        if kind != wanted:
            raise PromiseError(f"The {what} of '{id}' of '{card.name}' is of the kind {kind}; its card says {wanted}.")
    found = difference(data.sample(id), sample, where="the sample")
    if found:
        raise PromiseError(f"Case '{id}' of '{card.name}' is another when read again: {found}.")


@check(of="evaluator")
def evaluator_judges_a_perfect_prediction(subject: CardSubject, folder: Path) -> None:
    """A target measured against itself gives JSON rows and a report whose intervals hold its values."""
    card = cast(EvaluatorCard, subject.card)
    if card.source == "recorded":
        raise CannotCheckError(f"'{card.name}' judges recorded answers, which its own tests must bring")
    if card.prediction != card.target:
        raise CannotCheckError(
            f"'{card.name}' compares a {card.prediction} with a {card.target}: no perfect prediction"
        )
    evaluator = subject.entry(card, settings=subject.settings)
    rows = {
        f"example-{n}": _measured(evaluator, card, target, folder)
        for n, target in enumerate(subject.examples(card.target))
    }
    report = _reported(evaluator, rows, folder / "first")
    for metric in report.metrics:
        figures = [x for x in (metric.low, metric.value, metric.high) if x is not None]
        if not all(math.isfinite(x) for x in figures) or figures != sorted(figures):
            raise PromiseError(f"'{card.name}': {metric.name} is {metric.value} in {metric.low}..{metric.high}.")
    found = difference(_reported(evaluator, rows, folder / "second").metrics, report.metrics, where="the report")
    if found:
        raise PromiseError(f"'{card.name}' reports otherwise when asked again: {found}.")


def _measured(evaluator: Any, card: EvaluatorCard, target: Any, folder: Path) -> list[Any]:
    place = folder / f"case-{len(list(folder.iterdir()))}"
    place.mkdir()
    sample = Sample(id=place.name, payload=target, target=target)
    rows = list(evaluator.measure(sample, target, folder=place))
    try:
        kept: list[Any] = json.loads(json.dumps(rows))
    except (TypeError, ValueError) as error:
        raise PromiseError(f"The rows of '{card.name}' are not JSON: {error}.") from None
    return kept


def _reported(evaluator: Any, rows: dict[str, list[Any]], folder: Path) -> Report:
    folder.mkdir()
    report = evaluator.report(rows, folder=folder)
    if not isinstance(report, Report) or not report.metrics:
        raise PromiseError("The evaluator's report has no metrics.")
    return report
