"""The figures of the whole: average precision, boxes at the operating point, frames; with intervals by patient.

Intervals: patients (videos) are drawn, and the matches that each case's row holds are counted as often as it was
drawn; nothing is matched again, for a box's match depends on its own frame alone. With more than `STEPS` boxes of a
class the precision of a round is read off at that many steps of a falling score in place of every box. The value itself
is of all boxes, and its interval is moved by the difference that the steps make to it: some 0.002 (see the tests).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from omlab.abilities import Resampled
from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_figures, groups_of, ratio
from omlab_evaluators.detection.matching import OVERLAPS, SIZES
from omlab_evaluators.detection.precision import Ranked, Steps
from omlab_evaluators.detection.records import ranked
from omlab_evaluators.measures import Measure

Floats = NDArray[np.float64]

STEPS = 500
"""Of the curves that intervals are made of."""

PRECISIONS = (
    Measure("ap", "AP", help="COCO: mean over overlaps (IoU) from 0.5 to 0.95"),
    Measure("ap50", "AP50", help="COCO: a box is found from an IoU of 0.5 on"),
    Measure("ap75", "AP75", help="COCO: a box is found from an IoU of 0.75 on"),
    Measure("ap_small", "AP small", help="COCO: boxes under 32 x 32 pixels"),
    Measure("ap_medium", "AP medium", help="COCO: boxes of 32 x 32 to 96 x 96 pixels"),
    Measure("ap_large", "AP large", help="COCO: boxes over 96 x 96 pixels"),
)
POINT = (
    Measure("f1", "Localisation F1", help="of boxes at the operating point, found from an IoU of 0.5 on"),
    Measure("precision", "Precision", help="share of the boxes from the operating point on that are hits"),
    Measure("recall", "Recall", help="share of the references that are found at the operating point"),
)
MEASURES = (*PRECISIONS, *POINT)
PRESENCE = Measure(
    "frame_presence_f1", "Frame presence F1", help="of frames with any box or none, wherever it lies and whatever it is"
)
_TABLE = ("hits", "false", "references")
FRAMES = {"both": (True, True), "found_only": (False, True), "reference_only": (True, False)}
"""Which frames are counted: whether they have a reference, and a found box."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All boxes by class, and the counts that need no order; what is a case here may be a patient.

    Attributes:
        classes: Their boxes.
        point: By class and case the hits, false alarms and references at the operating point, (classes, cases, 3).
        frames: Counts of `FRAMES` by case, (cases, 3).
    """

    classes: Sequence[Ranked]
    point: Floats
    frames: Floats

    @property
    def shown(self) -> list[str | None]:
        """The classes' names, then None: all of them."""
        return [*(one.name for one in self.classes), None]

    def rests_on(self) -> NDArray[np.bool_]:
        """The cases that each figure rests on, (figures, cases), in the order of `figures`."""
        some = self.point.max(axis=2, initial=0.0) > 0  # (classes, cases)
        sizes = np.array([one.rests_on for one in self.classes]).reshape(
            len(self.classes), len(SIZES), len(self.frames)
        )
        any_size: NDArray[np.bool_] = np.logical_or.reduce(sizes, axis=0)
        rows: list[NDArray[np.bool_]] = []
        for n in range(len(self.classes)):
            rows += [*(sizes[n, 0],) * 3, *sizes[n, 1:], *(some[n],) * 3]
        rows += [
            *(any_size[0],) * 3,
            *any_size[1:],
            *(np.logical_or.reduce(some),) * 3,
            np.ones(len(self.frames), bool),
        ]
        return np.array(rows)

    def grouped(self, index: NDArray[np.int64]) -> Judged:
        """With patients for cases: `index` says for each case whose it is."""
        number = int(index.max(initial=-1)) + 1

        def summed(table: Floats) -> Floats:
            sums = np.zeros((number, table.shape[1]))
            np.add.at(sums, index, table)
            return sums

        classes = [replace(one, cases=index[one.cases], positives=summed(one.positives)) for one in self.classes]
        point = np.array([summed(table) for table in self.point]).reshape(len(classes), number, len(_TABLE))
        return Judged(classes=classes, point=point, frames=summed(self.frames))

    def figures(self, weights: Floats, *, steps: int | None = None) -> Floats:
        """All figures where cases count so often: (rounds, cases) to (rounds, figures).

        They are the `MEASURES` of each class, then of all, then `PRESENCE`; NaN: not defined. `steps`: of the curves;
        None: one for each box.
        """
        rounds = len(weights)
        precisions = [
            Steps(boxes=one, count=steps or max(1, len(one.scores))).precisions(weights) for one in self.classes
        ]
        counts = np.einsum("rc,kcn->rkn", weights, self.point)
        by_class = [
            np.concatenate([_summary(part), _at_point(counts[:, n])], axis=1) for n, part in enumerate(precisions)
        ]
        means = _mean_over_classes([part[:, : len(PRECISIONS)] for part in by_class], rounds=rounds)
        both, found_only, reference_only = (weights @ self.frames).T
        presence = ratio(2 * both, 2 * both + found_only + reference_only)
        return np.concatenate([*by_class, means, _at_point(counts.sum(axis=1)), presence[:, None]], axis=1)


def judged(rows: CaseRows, *, score: float) -> Judged:
    """The rows of all cases. `score` is the operating point."""
    classes = ranked(rows)
    frames = np.array([[row["frames_with"][key] for key in FRAMES] for (row,) in rows.values()], np.float64)
    point = np.zeros((len(classes), len(rows), len(_TABLE)))
    for n, one in enumerate(classes):
        hits, false = one.at(size=0, overlap=0)
        for column, flags in enumerate((hits, false)):
            np.add.at(point[n, :, column], one.cases[flags & (one.scores >= score)], 1)
        point[n, :, 2] = one.positives[:, 0]
    return Judged(classes=classes, point=point, frames=frames.reshape(len(rows), len(FRAMES)))


def metrics_of(whole: Judged, groups: Sequence[Hashable], *, rounds: int, seed: int) -> list[Metric]:
    """Every measure by class and over all (label None), then `PRESENCE`; groups are drawn for the intervals."""
    first: dict[Hashable, int] = {}  # the first case of each group, whose weight all of its cases have
    for place, group in enumerate(groups):
        first.setdefault(group, place)
    numbers = {group: n for n, group in enumerate(first)}
    drawn = whole.grouped(np.array([numbers[group] for group in groups], np.int64))
    places = [*first.values()]
    (exact,) = whole.figures(np.ones((1, len(groups))))
    estimates = bootstrap_figures(
        lambda weights: drawn.figures(weights[:, places], steps=STEPS),
        rests_on=whole.rests_on(),
        groups=groups,
        rounds=rounds,
        seed=seed,
    )
    named = [(measure, label) for label in whole.shown for measure in MEASURES]
    return [
        measure.metric(_moved(estimate, float(value)), label=label)
        for (measure, label), estimate, value in zip([*named, (PRESENCE, None)], estimates, exact, strict=True)
    ]


def resampled(rows: CaseRows, *, score: float) -> Resampled:
    """The figures of all classes together, for weighed cases (`omlab.abilities.Resamples`)."""
    whole = judged(rows, score=score)
    last = len(MEASURES) + 1
    return Resampled(
        measures=[measure.open() for measure in (*MEASURES, PRESENCE)],
        figures=lambda weights: whole.figures(weights, steps=STEPS)[:, -last:],
    )


def whose(rows: CaseRows) -> list[Hashable]:
    """The patient, or video, of each case."""
    return list(groups_of(rows))


def _moved(estimate: Estimate, value: float) -> Estimate:
    """The estimate with its value, and its interval moved along.

    Precision at its best over higher recalls is biased where cases count twice: an interval is widened to its value.
    """
    if estimate.value is None or np.isnan(value):
        return replace(estimate, value=None, low=None, high=None)
    by = value - estimate.value
    low, high = (None if end is None else end + by for end in (estimate.low, estimate.high))
    return Estimate(
        value, None if low is None else min(low, value), None if high is None else max(high, value), estimate.n
    )


def _summary(precisions: Floats) -> Floats:
    """(rounds, sizes, overlaps) -> `PRECISIONS`."""
    whole = precisions[:, 0]
    at = [int(np.flatnonzero(np.isclose(OVERLAPS, overlap))[0]) for overlap in (0.5, 0.75)]
    means = precisions.mean(axis=2)
    return np.stack([means[:, 0], whole[:, at[0]], whole[:, at[1]], *means[:, 1:].T], axis=1)


def _at_point(counts: Floats) -> Floats:
    """Hits, false alarms and references (rounds, 3) -> `POINT`."""
    hits, false, references = counts.T
    return np.stack(
        [ratio(2 * hits, hits + false + references), ratio(hits, hits + false), ratio(hits, references)], axis=1
    )


def _mean_over_classes(parts: Sequence[Floats], *, rounds: int) -> Floats:
    """The mean over the classes that have a reference; NaN where none has."""
    table = np.array(parts).reshape(len(parts), rounds, len(PRECISIONS))
    known = np.isfinite(table)
    return ratio(np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))
