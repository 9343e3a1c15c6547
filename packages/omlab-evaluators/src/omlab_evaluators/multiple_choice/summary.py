"""The figures of all questions: accuracy, what rotating the options changes, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, Floats, bootstrap_figures, ratio
from omlab_evaluators.classification.calibration import Bin, bins, gaps
from omlab_evaluators.measures import Measure
from omlab_evaluators.multiple_choice.chosen import BYS

Row = Mapping[str, Any]

ACCURACY = Measure("accuracy", "Accuracy", help="answers that are right, of all rotations")
OF_ROTATIONS = (
    Measure("changed", "Changed by rotation", higher_is_better=False, help="questions whose chosen option changes"),
    Measure("always_right", "Always right", help="questions that are right in every rotation of their options"),
)
OF_LIKELIHOODS = (
    Measure("accuracy_sum", "Accuracy by sum", help="the likeliest option by its log-probability as it is"),
    Measure("accuracy_token", "Accuracy by token", help="the likeliest option by its log-probability per token"),
    Measure("accuracy_byte", "Accuracy by byte", help="the likeliest option by its log-probability per byte"),
    Measure("ece", "ECE", higher_is_better=False, help="how far the chosen option's probability is from being right"),
)
OF_ANSWERS = (
    Measure("unread", "No option read", higher_is_better=False, help="answers that name no option, or several"),
)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was measured, a row a case, and the figures of all of it for weighed cases."""

    names: Sequence[str]
    rows: Sequence[Row]

    @property
    def has_likelihoods(self) -> bool:
        """Whether options were scored, not written."""
        return bool(self.rows) and "probability" in self.rows[0]

    @cached_property
    def right(self) -> Floats:
        """1 where the right option was chosen, (cases,)."""
        return np.array([float(row["chosen"] == row["answer"]) for row in self.rows])

    @cached_property
    def questions(self) -> Mapping[str, Sequence[int]]:
        """The cases of each question that was asked in several rotations."""
        found: dict[str, list[int]] = {}
        for place, row in enumerate(self.rows):
            found.setdefault(row["question"], []).append(place)
        return {question: places for question, places in found.items() if len(places) > 1}

    @cached_property
    def groups(self) -> Sequence[tuple[str, str]]:
        """Whose each case is: its group, else its question."""
        return [("group", row["group"]) if row["group"] else ("question", row["question"]) for row in self.rows]

    @property
    def measures(self) -> Sequence[Measure]:
        """The figures, in the order of `figures`."""
        of_form = OF_LIKELIHOODS if self.has_likelihoods else OF_ANSWERS
        return (ACCURACY, *of_form, *OF_ROTATIONS)

    def figures(self, weights: Floats) -> Floats:
        """How often each case counts, (rounds, cases) -> (rounds, measures); NaN: not defined."""
        total = weights.sum(axis=1)
        columns = [_share(weights, column, total) for column in self._columns]
        if self.has_likelihoods:
            columns.append(ratio(np.abs(weights @ self._gaps).sum(axis=1), total))
        # a question counts as its first case does: its rotations are one group
        first = weights[:, [places[0] for places in self.questions.values()]]
        columns += [_share(first, column, first.sum(axis=1)) for column in self._of_questions]
        return np.stack(columns, axis=1)

    @property
    def rests_on(self) -> NDArray[np.bool_]:
        """The cases that each figure rests on, (measures, cases)."""
        rotated = np.zeros(len(self.rows), dtype=bool)
        rotated[[place for places in self.questions.values() for place in places]] = True
        of_rotations = {measure.key for measure in OF_ROTATIONS}
        return np.array([rotated if m.key in of_rotations else np.ones_like(rotated) for m in self.measures])

    @cached_property
    def bins(self) -> Sequence[Bin]:
        """What was said and came true by bins of the chosen option's probability."""
        return bins(self._said, self.right)

    @cached_property
    def _said(self) -> Floats:
        return np.array([float(row["probability"]) for row in self.rows])

    @cached_property
    def _gaps(self) -> Floats:
        said = self._said[:, None]
        return gaps(said, self.right[:, None], np.ones_like(said, dtype=bool))

    @cached_property
    def _columns(self) -> Sequence[Floats]:
        """What is averaged over cases, by measure."""
        if not self.has_likelihoods:
            return [self.right, np.array([float(row["chosen"] is None) for row in self.rows])]
        return [self.right, *(np.array([float(row[f"by_{by}"] == row["answer"]) for row in self.rows]) for by in BYS)]

    @cached_property
    def _of_questions(self) -> tuple[Floats, Floats]:
        """Of each rotated question whether the choice changed, and whether it was right each time."""
        changed, always = [], []
        for places in self.questions.values():
            changed.append(float(len({_as_written(self.rows[place]) for place in places}) > 1))
            always.append(float(self.right[list(places)].all()))
        return np.array(changed), np.array(always)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of all with their intervals, and the accuracy of each subject."""

    judged: Judged
    whole: Mapping[str, Estimate]
    subjects: Mapping[str, Estimate]

    @property
    def shown(self) -> Sequence[Measure]:
        """The measures that have a value: without rotations two have none."""
        return [measure for measure in self.judged.measures if self.whole[measure.key].value is not None]


def judged(rows: CaseRows) -> Judged:
    """The rows of all cases. Raises `InputError` where some are of likelihoods and others of written answers."""
    found = [case[0] for case in rows.values()]
    if len({"probability" in row for row in found}) > 1:
        raise InputError("Some results are likelihoods and others written answers: evaluate them apart.")
    return Judged(names=list(rows), rows=found)


def summarise(rows: CaseRows, *, rounds: int, seed: int) -> Summary:
    """Figures with intervals: questions are drawn with all their rotations, and groups whole."""
    found = judged(rows)
    subjects = sorted({row["subject"] for row in found.rows if row["subject"]})
    members = np.array([[row["subject"] == subject for row in found.rows] for subject in subjects], dtype=bool)
    members = members.reshape(len(subjects), len(found.rows))

    def figures(weights: Floats) -> Floats:
        by_subject = ratio((weights * found.right) @ members.T, weights @ members.T.astype(float))
        return np.concatenate([found.figures(weights), by_subject], axis=1)

    rests_on = np.concatenate([found.rests_on, members])
    estimates = bootstrap_figures(figures, rests_on=rests_on, groups=found.groups, rounds=rounds, seed=seed)
    count = len(found.measures)
    return Summary(
        judged=found,
        whole={measure.key: estimate for measure, estimate in zip(found.measures, estimates[:count], strict=True)},
        subjects=dict(zip(subjects, estimates[count:], strict=True)),
    )


def metrics_of(summary: Summary) -> list[Metric]:
    """Each measure of the whole, then the accuracy by subject."""
    metrics = [measure.metric(summary.whole[measure.key]) for measure in summary.shown]
    return metrics + [ACCURACY.metric(found, label=subject) for subject, found in summary.subjects.items()]


def _as_written(row: Row) -> int | None:
    """The chosen option's place in the question as written."""
    return None if row["chosen"] is None else int((row["chosen"] + row["rotation"]) % row["options"])


def _share(weights: Floats, column: Floats, total: Floats) -> Floats:
    return ratio(weights @ column, total)
