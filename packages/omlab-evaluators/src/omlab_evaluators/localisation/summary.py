"""What is measured of boxes, and how the rows of all cases are summed up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_means, groups_of
from omlab_evaluators.measures import Measure

MEASURES = (
    Measure("iou", "Box IoU"),
    Measure("wall_distance", "Wall distance", unit="mm", higher_is_better=False, digits=1),
)


@dataclass(frozen=True)
class Summary:
    """The figures of all cases: for each measure one mean per structure and their mean over structures."""

    labels: list[str]
    by_label: dict[str, list[Estimate]]
    overall: dict[str, Estimate]


def summarise(rows: CaseRows, *, rounds: int, seed: int) -> Summary:
    """Means over cases with their intervals. Cases of one group (patient) are drawn together."""
    labels = sorted({str(row["label"]) for case in rows.values() for row in case})
    by_label, overall = {}, {}
    for measure in MEASURES:
        values = np.full((len(rows), len(labels)), np.nan)
        for n, case in enumerate(rows.values()):
            for row in case:
                if row[measure.key] is not None:
                    values[n, labels.index(str(row["label"]))] = row[measure.key]
        by_label[measure.key], overall[measure.key] = bootstrap_means(
            values, groups=groups_of(rows), rounds=rounds, seed=seed
        )
    return Summary(labels, by_label, overall)


def metrics_of(summary: Summary) -> list[Metric]:
    """The metrics of the report: every measure by structure, then as mean over the structures (label None)."""
    return [
        measure.metric(estimate, label=label)
        for measure in MEASURES
        for label, estimate in zip(
            [*summary.labels, None], [*summary.by_label[measure.key], summary.overall[measure.key]], strict=True
        )
    ]
