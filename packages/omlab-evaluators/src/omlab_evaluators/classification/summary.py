"""What is measured of a classification, and how the rows of all cases are summed up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_figures, groups_of
from omlab_evaluators.classification.calibration import gaps
from omlab_evaluators.classification.discrimination import discrimination
from omlab_evaluators.measures import Measure

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

OVERALL = (
    Measure("accuracy", "Accuracy", help="cases whose class is predicted"),
    Measure("balanced_accuracy", "Balanced accuracy", help="mean over classes"),
    Measure("auroc", "AUROC", help="one class against the others, mean over classes"),
    Measure("average_precision", "Average precision", help="one class against the others, mean over classes"),
    Measure("f1", "F1", help="mean over classes"),
    Measure("brier", "Brier score", higher_is_better=False, help="squared error of the probabilities"),
    Measure("ece", "Calibration error", higher_is_better=False, help="expected calibration error"),
)
BY_CLASS = (
    Measure("sensitivity", "Sensitivity", help="of the cases of the class, those predicted as such"),
    Measure("specificity", "Specificity", help="of the other cases, those not predicted as such"),
    Measure("auroc", "AUROC", help="that a case of the class has the higher probability of it"),
    Measure("average_precision", "Average precision", help="mean precision over thresholds"),
    Measure("f1", "F1", help="2 TP / (2 TP + FP + FN), where a case is of the class"),
)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All cases as arrays, (cases, classes) each.

    `known` are the annotated classes of a case, `given` those that the model has. `names`: those of the references,
    then those that only the model has. `several`: more than one class may be right.
    """

    cases: list[str]
    groups: list[str | None]
    names: list[str]
    several: bool
    known: Flags
    given: Flags
    right: Flags
    predicted: Flags
    probabilities: Floats

    @cached_property
    def correct(self) -> Flags:
        """The cases of which all annotated classes are as predicted."""
        return np.asarray(((self.right == self.predicted) | ~self.known).all(axis=1))

    @cached_property
    def brier(self) -> Floats:
        """The squared error of each case's probabilities (Brier 1950).

        Where one class is right: their sum, and half of that where there are two classes, so that it lies between 0 and
        1. Where several may be: their mean.
        """
        errors = np.where(self.known, (self.probabilities - self.right) ** 2, 0.0)
        if self.several:
            return np.asarray(errors.sum(axis=1) / np.maximum(1, self.known.sum(axis=1)))
        return np.asarray(errors.sum(axis=1) / (2 if len(self.names) == 2 else 1))

    @cached_property
    def statements(self) -> tuple[Floats, Floats, Flags]:
        """Probabilities that were stated, what came true of them, and which count, (cases, statements) each.

        Where one class is right: the probability of the most probable class. Where several may be: that of each.
        """
        if self.several:
            return self.probabilities, self.right.astype(np.float64), self.known
        said = self.probabilities.max(axis=1, keepdims=True)
        return said, self.correct[:, None].astype(np.float64), np.ones(said.shape, dtype=bool)

    @cached_property
    def gaps(self) -> Floats:
        """By case and bin what was stated beyond what came true, (cases, bins)."""
        return gaps(*self.statements)

    def figures(self, weights: Floats) -> Floats:
        """`OVERALL`, then each of `BY_CLASS` for all classes, (rounds, figures), where cases count `weights` times."""
        right, known, predicted = self.right, self.known, self.predicted
        tp, fn = weights @ (right & predicted & known), weights @ (right & ~predicted & known)
        fp, tn = weights @ (~right & predicted & known), weights @ (~right & ~predicted & known)
        sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
        f1 = _ratio(2 * tp, np.where(tp + fn > 0, 2 * tp + fp + fn, 0))  # of a class without cases it would say nothing
        auroc, precision = (np.stack(part, axis=1) for part in zip(*self._discrimination(weights), strict=True))
        total = weights.sum(axis=1)
        balanced = _mean_over((sensitivity + specificity) / 2) if self.several else _mean_over(sensitivity)
        error = np.abs(weights @ self.gaps).sum(axis=1)
        overall = [
            _ratio(weights @ self.correct, total), balanced, _mean_over(auroc), _mean_over(precision), _mean_over(f1),
            _ratio(weights @ self.brier, total), _ratio(error, weights @ self.statements[2].sum(axis=1)),
        ]  # fmt: skip
        return np.concatenate([np.stack(overall, axis=1), sensitivity, specificity, auroc, precision, f1], axis=1)

    def rests_on(self) -> Flags:
        """For each of `figures` the cases that it rests on: of AUROC and average precision the scarcer side."""
        positive, negative = (self.right & self.known).T, (~self.right & self.known).T
        scarcer = np.where((positive.sum(axis=1) <= negative.sum(axis=1))[:, None], positive, negative)
        overall = np.ones((len(OVERALL), len(self.cases)), dtype=bool)
        return np.concatenate([overall, positive, negative, scarcer, scarcer, self.known.T])

    def _discrimination(self, weights: Floats) -> list[tuple[Floats, Floats]]:
        return [
            discrimination(self.probabilities[mask, n], self.right[mask, n], weights[:, mask])
            for n, mask in enumerate(self.known.T)
        ]


@dataclass(frozen=True)
class Summary:
    """The figures of all cases: `OVERALL` by key, and `BY_CLASS` by key for each class."""

    judged: Judged
    overall: dict[str, Estimate]
    by_class: dict[str, list[Estimate]]


def judged(rows: CaseRows) -> Judged:
    """The rows as arrays. Raises `InputError` where some references are of one class and others of several."""
    row_of = {case: mine[0] for case, mine in rows.items()}
    forms = {bool(row["several"]) for row in row_of.values()}
    if len(forms) > 1:
        case = next(case for case, row in row_of.items() if row["several"])
        raise InputError(
            f"The reference of case {case} has a threshold, that of others has none: let all say that one class is "
            "right, or all that several may be."
        )
    several = True in forms
    names = list(dict.fromkeys(name for row in row_of.values() for name in row["classes"]))
    names = list(dict.fromkeys([*names, *(name for row in row_of.values() for name in row["probabilities"])]))
    place = {name: n for n, name in enumerate(names)}
    shape = (len(row_of), len(names))
    known, given, right, predicted = (np.zeros(shape, dtype=bool) for _ in range(4))
    probabilities = np.zeros(shape)
    for n, row in enumerate(row_of.values()):
        known[n, [place[name] for name in (row["classes"] if several else names)]] = True
        known[n, [place[name] for name in (row["unknown"] if several else ())]] = False
        right[n, [place[name] for name in row["right"]]] = True
        predicted[n, [place[name] for name in row["predicted"]]] = True
        columns = [place[name] for name in row["probabilities"]]
        probabilities[n, columns], given[n, columns] = list(row["probabilities"].values()), True
    return Judged(
        cases=list(row_of), groups=[row.get("group") for row in row_of.values()], names=names, several=several,
        known=known, given=given, right=right, predicted=predicted, probabilities=probabilities,
    )  # fmt: skip


def summarise(rows: CaseRows, *, rounds: int, seed: int) -> Summary:
    """Figures over cases with their intervals. Cases of one group (patient) are drawn together. Raises `InputError`."""
    found = judged(rows)
    estimates = iter(
        bootstrap_figures(found.figures, rests_on=found.rests_on(), groups=groups_of(rows), rounds=rounds, seed=seed)
    )
    overall = {measure.key: next(estimates) for measure in OVERALL}
    return Summary(found, overall, {measure.key: [next(estimates) for _ in found.names] for measure in BY_CLASS})


def metrics_of(summary: Summary) -> list[Metric]:
    """The metrics of the report: those of the whole (label None), then each measure by class."""
    whole = [measure.metric(summary.overall[measure.key]) for measure in OVERALL]
    return whole + [
        measure.metric(estimate, label=name)
        for measure in BY_CLASS
        for name, estimate in zip(summary.judged.names, summary.by_class[measure.key], strict=True)
    ]


def _ratio(above: Floats, below: Floats) -> Floats:
    result: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return result


def _mean_over(classes: Floats) -> Floats:
    """The mean over classes of what is defined, (rounds,)."""
    defined = np.isfinite(classes)
    return _ratio(np.where(defined, classes, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
