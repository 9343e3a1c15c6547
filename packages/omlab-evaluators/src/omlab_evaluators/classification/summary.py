"""What is measured of a classification, and how the rows of all cases are summed up."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_figures, groups_of, ratio
from omlab_evaluators.classification.calibration import gaps
from omlab_evaluators.classification.discrimination import discrimination
from omlab_evaluators.classification.kappa import quadratic_kappa
from omlab_evaluators.measures import Measure

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

Undefined = Literal["left-out", "published"]
"""Of the mean over classes where AUROC or average precision of a class is not defined: leave the class out, or count as
MedFMC's published figures do."""

OVERALL = (
    Measure("accuracy", "Accuracy", help="cases whose class is predicted"),
    Measure("balanced_accuracy", "Balanced accuracy", help="mean over classes"),
    Measure("auroc", "AUROC", help="one class against the others, mean over classes"),
    Measure("average_precision", "Average precision", help="one class against the others, mean over classes"),
    Measure("f1", "F1", help="mean over classes"),
    Measure("quadratic_kappa", "Quadratic kappa", help="agreement beyond chance, of classes that have an order"),
    Measure("brier", "Brier score", higher_is_better=False, help="squared error of the probabilities"),
    Measure("ece", "Calibration error", higher_is_better=False, help="expected calibration error"),
    Measure("coverage", "Coverage of sets", help="cases whose prediction set holds all that is right"),
    Measure("set_size", "Size of sets", higher_is_better=False, digits=2, help="classes in a prediction set"),
)
OF_SINGLE, OF_SETS = ("quadratic_kappa",), ("coverage", "set_size")
"""Measures of `OVERALL` that there are only where one class is right, or where results have prediction sets."""

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
    then those that only the model has. `several`: more than one class may be right. `sets` are the classes in
    prediction sets (None where a case has none), and `aims` the coverages that these were made for. `undefined`: what
    becomes of classes that have no AUROC in the mean over classes.
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
    sets: Flags | None = None
    aims: tuple[float, ...] = ()
    undefined: Undefined = "left-out"

    @property
    def overall(self) -> tuple[Measure, ...]:
        """The measures of `OVERALL` that there are of these cases."""
        absent = (*(OF_SINGLE if self.several else ()), *(OF_SETS if self.sets is None else ()))
        return tuple(measure for measure in OVERALL if measure.key not in absent)

    def part(self, places: Sequence[int]) -> Judged:
        """Some of the cases."""
        chosen = np.array(places, dtype=np.int64)
        arrays = ("known", "given", "right", "predicted", "probabilities")
        some: dict[str, Any] = {name: getattr(self, name)[chosen] for name in arrays}
        some |= {name: [getattr(self, name)[place] for place in places] for name in ("cases", "groups")}
        return replace(self, sets=None if self.sets is None else self.sets[chosen], **some)

    def worst_first(self) -> list[int]:
        """Places of the cases: wrong ones first, then the larger error of the probabilities."""
        return sorted(range(len(self.cases)), key=lambda n: (bool(self.correct[n]), -float(self.brier[n])))

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
        """`overall`, then each of `BY_CLASS` for all classes, (rounds, figures), where cases count `weights` times."""
        right, known, predicted = self.right, self.known, self.predicted
        tp, fn = weights @ (right & predicted & known), weights @ (right & ~predicted & known)
        fp, tn = weights @ (~right & predicted & known), weights @ (~right & ~predicted & known)
        sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
        f1 = ratio(2 * tp, np.where(tp + fn > 0, 2 * tp + fp + fn, 0))  # of a class without cases it would say nothing
        auroc, precision = (np.stack(part, axis=1) for part in zip(*self._discrimination(weights), strict=True))
        total = weights.sum(axis=1)
        balanced = _mean_over((sensitivity + specificity) / 2) if self.several else _mean_over(sensitivity)
        error = np.abs(weights @ self.gaps).sum(axis=1)
        mean_auroc, mean_precision = _mean_over(auroc), _mean_over(precision)
        if self.undefined == "published":
            mean_auroc, mean_precision = _carried_mean(auroc), _whole_mean(precision, has_positive=tp + fn > 0)
        overall = {
            "accuracy": ratio(weights @ self.correct, total),
            "balanced_accuracy": balanced,
            "auroc": mean_auroc,
            "average_precision": mean_precision,
            "f1": _mean_over(f1),
            "brier": ratio(weights @ self.brier, total),
            "ece": ratio(error, weights @ self.statements[2].sum(axis=1)),
        }
        if not self.several:
            overall["quadratic_kappa"] = quadratic_kappa(right, predicted, weights)
        if self.sets is not None:
            is_held = (self.sets | ~(right & known)).all(axis=1)
            overall["coverage"] = ratio(weights @ is_held, total)
            overall["set_size"] = ratio(weights @ self.sets.sum(axis=1), total)
        whole = np.stack([overall[measure.key] for measure in self.overall], axis=1)
        return np.concatenate([whole, sensitivity, specificity, auroc, precision, f1], axis=1)

    def rests_on(self) -> Flags:
        """For each of `figures` the cases that it rests on: of AUROC and average precision the scarcer side."""
        positive, negative = (self.right & self.known).T, (~self.right & self.known).T
        scarcer = np.where((positive.sum(axis=1) <= negative.sum(axis=1))[:, None], positive, negative)
        overall = np.ones((len(self.overall), len(self.cases)), dtype=bool)
        return np.concatenate([overall, positive, negative, scarcer, scarcer, self.known.T])

    def _discrimination(self, weights: Floats) -> list[tuple[Floats, Floats]]:
        return [
            discrimination(self.probabilities[mask, n], self.right[mask, n], weights[:, mask])
            for n, mask in enumerate(self.known.T)
        ]


@dataclass(frozen=True)
class Summary:
    """The figures of all cases: `Judged.overall` by key, and `BY_CLASS` by key for each class."""

    judged: Judged
    overall: dict[str, Estimate]
    by_class: dict[str, list[Estimate]]


def judged(rows: CaseRows, *, undefined: Undefined = "left-out") -> Judged:
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
    sets = np.zeros(shape, dtype=bool) if all(row.get("set") is not None for row in row_of.values()) else None
    for n, row in enumerate(row_of.values()):
        known[n, [place[name] for name in (row["classes"] if several else names)]] = True
        known[n, [place[name] for name in (row["unknown"] if several else ())]] = False
        right[n, [place[name] for name in row["right"]]] = True
        predicted[n, [place[name] for name in row["predicted"]]] = True
        if sets is not None:
            sets[n, [place[name] for name in row["set"]]] = True
        columns = [place[name] for name in row["probabilities"]]
        probabilities[n, columns], given[n, columns] = list(row["probabilities"].values()), True
    return Judged(
        cases=list(row_of), groups=[row.get("group") for row in row_of.values()], names=names, several=several,
        known=known, given=given, right=right, predicted=predicted, probabilities=probabilities, sets=sets,
        aims=tuple(sorted({row["set_coverage"] for row in row_of.values()})) if sets is not None else (),
        undefined=undefined,
    )  # fmt: skip


def summarise(rows: CaseRows, *, rounds: int, seed: int, undefined: Undefined = "left-out") -> Summary:
    """Figures over cases with their intervals. Cases of one group (patient) are drawn together. Raises `InputError`."""
    return summary_of(judged(rows, undefined=undefined), groups=groups_of(rows), rounds=rounds, seed=seed)


def summary_of(found: Judged, *, groups: Sequence[Hashable], rounds: int, seed: int) -> Summary:
    """Likewise, of cases as arrays; `groups` says for each whose it is."""
    estimates = iter(
        bootstrap_figures(found.figures, rests_on=found.rests_on(), groups=groups, rounds=rounds, seed=seed)
    )
    overall = {measure.key: next(estimates) for measure in found.overall}
    return Summary(found, overall, {measure.key: [next(estimates) for _ in found.names] for measure in BY_CLASS})


def metrics_of(summary: Summary) -> list[Metric]:
    """The metrics of the report: those of the whole (label None), then each measure by class."""
    whole = [measure.metric(summary.overall[measure.key]) for measure in summary.judged.overall]
    return whole + [
        measure.metric(estimate, label=name)
        for measure in BY_CLASS
        for name, estimate in zip(summary.judged.names, summary.by_class[measure.key], strict=True)
    ]


def _mean_over(classes: Floats) -> Floats:
    """The mean over classes of what is defined, (rounds,)."""
    defined = np.isfinite(classes)
    return ratio(np.where(defined, classes, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def _carried_mean(classes: Floats) -> Floats:
    """The mean over classes where one that is not defined counts as the one before it; one at the beginning does not.

    So do MedFMC's published figures: the exception of the metric was swallowed, and the last value taken once more.
    """
    carried = classes.copy()
    for k in range(1, carried.shape[1]):
        carried[:, k] = np.where(np.isnan(carried[:, k]), carried[:, k - 1], carried[:, k])
    return _mean_over(carried)


def _whole_mean(classes: Floats, *, has_positive: Flags) -> Floats:
    """The mean over all classes: 0 where no case is of one, 1 where all are, as MedFMC's average precision counts."""
    whole: Floats = np.where(np.isnan(classes), has_positive, classes).mean(axis=1)
    return whole
