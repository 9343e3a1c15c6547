"""What the evaluator `axons` measures, its settings, and how the rows of all cases are summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omlab.errors import SettingsError
from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_means, groups_of
from omlab_evaluators.measures import Measure

MEASURES = (
    Measure("cldice", "clDice", help="harmonic mean of recall and precision along centre lines"),
    Measure("centreline_recall", "Centre-line recall", help="share of the reference's centre line that was found"),
    Measure("centreline_precision", "Centre-line precision", help="share of the found centre line in the reference"),
    Measure("dice", "Dice", help="as published, with 1 added to both sides of the fraction"),
    Measure("tolerant_iou", "Tolerant IoU", help="forgives what lies within a voxel of the reference"),
    Measure("iou", "IoU"),
    Measure("false_share", "False share", higher_is_better=False, digits=5, help="of a case without any axon"),
)
PRECISION = "centreline_precision"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user may set; see the card."""

    pooling: tuple[int, ...] = (1, 5)
    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        windows = self.pooling
        whole = all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in windows)
        if not windows or not whole or len(set(windows)) != len(windows):
            raise SettingsError(f"pooling must be different whole numbers of at least 1, not {list(windows)}.")
        if self.bootstrap < 1:
            raise SettingsError(f"bootstrap must be at least 1 round, not {self.bootstrap}.")


Means = Mapping[str, Sequence[Estimate]]
"""By measure an estimate for each window of the pooling."""


def summarise(rows: CaseRows, settings: Settings) -> Means:
    """Means over cases with their intervals. Cases of one group (brain) are drawn together."""
    means = {}
    for measure in MEASURES:
        values = np.full((len(rows), len(settings.pooling)), np.nan)
        for n, case in enumerate(rows.values()):
            for row in case:
                if row[measure.key] is not None:
                    values[n, settings.pooling.index(row["pooling"])] = row[measure.key]
        means[measure.key], _ = bootstrap_means(
            values, groups=groups_of(rows), rounds=settings.bootstrap, seed=settings.seed
        )
    return means


def metrics_of(means: Means, pooling: Sequence[int]) -> list[Metric]:
    """The metrics of the report: those of the first window are the whole's (label None), others are named by theirs."""
    return [
        measure.metric(estimate, label=None if n == 0 else window_name(window))
        for measure in MEASURES
        for n, (window, estimate) in enumerate(zip(pooling, means[measure.key], strict=True))
    ]


def window_name(window: int) -> str:
    """What a window is called on the page."""
    return "as they are" if window == 1 else f"pooled by {window}"
