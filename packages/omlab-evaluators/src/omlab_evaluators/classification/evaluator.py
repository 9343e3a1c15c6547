"""Evaluator `classification`: is the right class predicted, are the classes told apart, do probabilities hold.

A reference says which class is right (its most probable one), or, where it has a threshold, of each class whether it
is (several may be, or none; a probability of NaN: not annotated). All references of a data set are of one form. Classes
are matched by name; case, spaces, hyphens and underscores do not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.abilities import Resampled
from omlab.errors import InputError
from omlab.payloads import Viewable
from omlab.roles import Metric, Report, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.classification.by_group import by_group
from omlab_evaluators.classification.comparison import compare
from omlab_evaluators.classification.subgroups import by_subgroup, values_of
from omlab_evaluators.classification.summary import OF_SETS, Undefined, judged, metrics_of, summarise
from omlab_evaluators.names import matched
from omlab_evaluators.other_runs import name_of_run, rows_of_run
from omlab_evaluators.thumbnails import draw_picture, keep_picture, path_of_picture


def load(card: Any, *, settings: Mapping[str, Any]) -> ClassificationEvaluator:
    """The evaluator of the card, with complete settings. Raises `InputError` where `against` is no evaluation."""
    against = Path(settings["against"]) if settings.get("against") else None
    if against is not None:
        rows_of_run(against)  # says now what would be wrong after an hour
    return ClassificationEvaluator(
        rounds=settings["bootstrap"],
        seed=settings["seed"],
        undefined=settings.get("undefined", "left-out"),
        subgroups=[str(name) for name in settings.get("subgroups", ())],
        against=against,
        by_group=settings.get("by_group", False),
    )


class ClassificationEvaluator:
    """Compares probabilities of classes with the classes that are right.

    Args:
        rounds: Of the bootstrap.
        seed: Of the bootstrap.
        undefined: What becomes of classes without an AUROC in the mean over classes.
        subgroups: Columns of the table of cases (`Sample.meta`) by whose values figures are also given.
        against: The folder of another evaluation of the same cases, to be compared with.
        by_group: Groups (slides, patients) are judged in place of cases, by the mean of their cases' probabilities.
    """

    headline = "auroc"

    def __init__(
        self,
        *,
        rounds: int = 1000,
        seed: int = 0,
        undefined: Undefined = "left-out",
        subgroups: Sequence[str] = (),
        against: Path | None = None,
        by_group: bool = False,
    ) -> None:
        self.rounds, self.seed, self.undefined = rounds, seed, undefined
        self.subgroups, self.against, self.by_group = tuple(subgroups), against, by_group

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """One row: the reference's `classes`, those `right` and `unknown`, `predicted`, `probabilities`, `several`.

        A prediction set adds `set` and `set_coverage`, settings add `subgroups`. An input that can be looked at
        (`omlab.payloads.Viewable`) leaves a small picture in `folder`.

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
        more: dict[str, Any] = {}
        if getattr(result, "prediction_set", None) is not None:
            more["set"] = [names.get(name, name) for name in result.prediction_set]
            more["set_coverage"] = result.set_coverage
        if self.subgroups:
            more["subgroups"] = values_of(sample, self.subgroups)
        keep_picture(sample, folder=folder)
        return [
            {
                **more,
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
        """Figures with intervals; writes `report.html`, `cases.csv`, `curves.csv`; of single classes `confusion.csv`.

        The page also shows `history.json` (a loss curve) and the run of the same folder, where they are there.

        Raises `InputError` where some references are of one class and others of several.
        """
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.classification.page import write_report

        rows = dict(
            sorted(self._judged(rows).items())
        )  # draws go by the order of patients, which must not depend on the run's
        summary = summarise(rows, rounds=self.rounds, seed=self.seed, undefined=self.undefined)
        parts = by_subgroup(rows, summary.judged, columns=self.subgroups, rounds=self.rounds, seed=self.seed)
        comparison = None
        if self.against is not None:
            theirs = self._judged(rows_of_run(self.against))
            comparison = compare(
                rows,
                theirs,
                name=name_of_run(self.against),
                undefined=self.undefined,
                rounds=self.rounds,
                seed=self.seed,
            )
        notes = write_report(
            summary, subgroups=parts, comparison=comparison, rounds=self.rounds, seed=self.seed, folder=folder
        )
        details = ({"subgroups": [part.to_json() for part in parts]} if parts else {}) | (
            {"comparison": comparison.to_json()} if comparison is not None else {}
        )
        return Report(metrics=metrics_of(summary), notes=notes, details=details)

    def illustrated(self, rows: CaseRows) -> list[str]:
        """The cases of the strip of right and wrong pictures (`omlab.abilities.Illustrates`)."""
        from omlab_evaluators.classification.page_pictures import shown_in_strip

        if self.by_group:
            return []  # a group has no picture of its own
        found = judged(dict(sorted(rows.items())), undefined=self.undefined)
        return shown_in_strip(found, found.worst_first())

    def illustrate(self, case: str, explanation: Any, folder: Path) -> None:
        """Keep a small picture of where the model looked. Raises `InputError` where it cannot be drawn."""
        from omlab_evaluators.classification.page_pictures import LOOKED_AT

        if not isinstance(explanation, Viewable):
            raise InputError("what 'explain' gives is no picture.")
        draw_picture(explanation, path_of_picture(folder, case=case, kind=LOOKED_AT))

    def resampled(self, rows: CaseRows) -> Resampled:
        """The figures over all classes, for weighed cases (`omlab.abilities.Resamples`); none of prediction sets."""
        found = judged(self._judged(rows), undefined=self.undefined)
        places = [
            n for n, measure in enumerate(found.overall) if measure.key not in OF_SETS
        ]  # not all models have some
        measures = [found.overall[place] for place in places]
        return Resampled(
            measures=[
                Metric(name=m.key, value=None, unit=m.unit, higher_is_better=m.higher_is_better) for m in measures
            ],
            figures=lambda weights: found.figures(weights)[:, places],
        )

    def _judged(self, rows: CaseRows) -> CaseRows:
        """What figures are over: cases, or groups."""
        return by_group(rows) if self.by_group else rows


def _reference(target: Any, *, case: str) -> tuple[list[str], list[str]]:
    """The classes that are right, and those that are not annotated."""
    if target is None:
        raise InputError(f"Case {case} has no reference class to compare the result with.")
    unknown = [name for name, value in zip(target.names, target.probabilities, strict=True) if math.isnan(value)]
    right = list(target.predicted)
    if len(unknown) == len(target.names):
        raise InputError(f"Case {case} has no reference class: all its probabilities are NaN.")
    return right, unknown
