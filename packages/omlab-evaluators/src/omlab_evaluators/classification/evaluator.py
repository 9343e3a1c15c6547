"""Evaluator `classification`: is the right class predicted, are the classes told apart, do probabilities hold.

A reference says which class is right (its most probable one), or, where it has a threshold, of each class whether it
is (several may be, or none; a probability of NaN: not annotated). All references of a data set are of one form. Classes
are matched by name; case, spaces, hyphens and underscores do not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.errors import InputError
from omlab.roles import Metric, Report, Resampled, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.classification.summary import OVERALL, judged, metrics_of, summarise
from omlab_evaluators.names import matched


def load(card: Any, *, settings: Mapping[str, Any]) -> ClassificationEvaluator:
    """The evaluator of the card, with complete settings."""
    return ClassificationEvaluator(rounds=settings["bootstrap"], seed=settings["seed"])


class ClassificationEvaluator:
    """Compares probabilities of classes with the classes that are right."""

    headline = "auroc"

    def __init__(self, *, rounds: int = 1000, seed: int = 0) -> None:
        self.rounds, self.seed = rounds, seed

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """One row: the reference's `classes`, those `right` and `unknown`, `predicted`, `probabilities`, `several`.

        Raises `InputError` where the case has no reference, no class of it is one of the model's, or one is NaN.
        """
        target: Any = sample.target
        right, unknown = _reference(target, case=sample.id)
        said = dict(zip(result.names, result.probabilities, strict=True))
        lost = [name for name, value in said.items() if math.isnan(value)]
        if lost:
            raise InputError(f"Case {sample.id}: the probability of '{lost[0]}' is not a number.")
        names = {theirs: ours for ours, theirs in matched(target.names, said).items()}
        if not names:
            ours, theirs = (", ".join(map(repr, found[:6])) for found in (list(target.names), list(said)))
            raise InputError(
                f"Case {sample.id}: no class of the reference ({ours}) is one of the model's ({theirs}): evaluate a "
                "model that predicts these classes, or name them alike."
            )
        several = target.threshold is not None
        predicted = result.predicted if several else [max(said, key=lambda name: said[name])]
        return [
            {
                "group": sample.group,
                "several": several,
                "classes": list(target.names),
                "right": right,
                "unknown": unknown,
                "predicted": [names.get(name, name) for name in predicted],
                "probabilities": {names.get(name, name): value for name, value in said.items()},
            }
        ]

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Figures with intervals; writes `report.html`, `cases.csv` and, of single classes, `confusion.csv`.

        The page also shows `history.json` (a loss curve) and the run of the same folder, where they are there.

        Raises `InputError` where some references are of one class and others of several.
        """
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.classification.page import write_report

        summary = summarise(rows, rounds=self.rounds, seed=self.seed)
        notes = write_report(summary, rounds=self.rounds, seed=self.seed, folder=folder)
        return Report(metrics=metrics_of(summary), notes=notes)

    def resampled(self, rows: CaseRows) -> Resampled:
        """The figures over all classes, for weighed cases (`omlab.roles.Resamples`)."""
        found = judged(rows)
        measures = [Metric(name=m.key, value=None, unit=m.unit, higher_is_better=m.higher_is_better) for m in OVERALL]
        return Resampled(measures=measures, figures=lambda weights: found.figures(weights)[:, : len(OVERALL)])


def _reference(target: Any, *, case: str) -> tuple[list[str], list[str]]:
    """The classes that are right, and those that are not annotated."""
    if target is None:
        raise InputError(f"Case {case} has no reference class to compare the result with.")
    unknown = [name for name, value in zip(target.names, target.probabilities, strict=True) if math.isnan(value)]
    right = list(target.predicted)
    if len(unknown) == len(target.names):
        raise InputError(f"Case {case} has no reference class: all its probabilities are NaN.")
    return right, unknown
