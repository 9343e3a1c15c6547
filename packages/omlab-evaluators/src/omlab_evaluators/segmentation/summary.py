"""What is measured of a segmentation, and how the rows of all cases are summed up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from omlab.abilities import Resampled
from omlab.errors import SettingsError
from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_means, groups_of
from omlab_evaluators.measures import Measure

Status = Literal["found", "not found", "invented", "absent"]


DICE = Measure("dice", "Dice")
MEASURES = (
    DICE,
    Measure("surface_dice", "Surface Dice"),
    Measure("hd95", "HD95", unit="mm", higher_is_better=False, digits=2),
)
"""Of label maps of volumes."""

PIXEL_MEASURES = (DICE, Measure("frame_dice", "Dice by frame", help="mean of the frames' own"))
"""Of those of pictures (the first) and of clips (both)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user may set; see the card."""

    surface_tolerance_mm: float = 2.0
    bootstrap: int = 1000
    seed: int = 0
    labels: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.surface_tolerance_mm) and self.surface_tolerance_mm >= 0):
            raise SettingsError(f"surface_tolerance_mm must be 0 or more, not {self.surface_tolerance_mm}.")
        if self.bootstrap < 1:
            raise SettingsError(f"bootstrap must be at least 1 round, not {self.bootstrap}.")


@dataclass(frozen=True)
class Summary:
    """The figures of all cases: for each measure one mean per class and their mean over classes."""

    labels: list[str]
    by_label: dict[str, list[Estimate]]
    overall: dict[str, Estimate]
    measures: Sequence[Measure] = MEASURES

    @property
    def has_millimetres(self) -> bool:
        """Whether it is of volumes."""
        return self.measures == MEASURES


def status_of(reference: int, prediction: int) -> Status:
    """Of a class with so many voxels in each map."""
    if reference and prediction:
        return "found"
    if reference:
        return "not found"
    return "invented" if prediction else "absent"


def measures_of(rows: CaseRows) -> tuple[Measure, ...]:
    """The measures that the rows have."""
    keys = {key for case in rows.values() for row in case for key in row}
    if not keys or "surface_dice" in keys:
        return MEASURES
    return tuple(measure for measure in PIXEL_MEASURES if measure.key in keys)


def summarise(rows: CaseRows, *, rounds: int, seed: int) -> Summary:
    """Means over cases with their intervals. Cases of one group (patient) are drawn together."""
    labels = list(dict.fromkeys(row["label"] for case in rows.values() for row in case))
    measures = measures_of(rows)
    by_label, overall = {}, {}
    for measure in measures:
        by_label[measure.key], overall[measure.key] = bootstrap_means(
            _values(rows, labels, measure.key), groups=groups_of(rows), rounds=rounds, seed=seed
        )
    return Summary(labels, by_label, overall, measures)


def resampled(rows: CaseRows) -> Resampled:
    """The means over labels, for weighed cases (`omlab.abilities.Resamples`)."""
    labels = list(dict.fromkeys(row["label"] for case in rows.values() for row in case))
    measures = measures_of(rows)
    values = [_values(rows, labels, measure.key) for measure in measures]

    def figures(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([_mean_over_labels(table, weights) for table in values], axis=1)

    return Resampled(measures=[measure.open() for measure in measures], figures=figures)


def _mean_over_labels(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over labels of the weighed means over cases, (rounds,); NaN where nothing is defined."""
    defined = np.isfinite(values)
    counts = weights @ defined
    sums = weights @ np.where(defined, values, 0.0)
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    known = (counts > 0).sum(axis=1)
    result: NDArray[np.float64] = np.divide(
        means.sum(axis=1), known, out=np.full(len(weights), np.nan), where=known > 0
    )
    return result


def _values(rows: CaseRows, labels: list[str], key: str) -> NDArray[np.float64]:
    """A measure by case and label, (cases, labels); NaN where it is not defined."""
    place = {label: n for n, label in enumerate(labels)}
    values = np.full((len(rows), len(labels)), np.nan)
    for n, case in enumerate(rows.values()):
        for row in case:
            if row[key] is not None:
                values[n, place[row["label"]]] = row[key]
    return values


def metrics_of(summary: Summary) -> list[Metric]:
    """The metrics of the report: every measure by label, then as mean over the labels (label None)."""
    return [
        measure.metric(estimate, label=label)
        for measure in summary.measures
        for label, estimate in zip(
            [*summary.labels, None], [*summary.by_label[measure.key], summary.overall[measure.key]], strict=True
        )
    ]
