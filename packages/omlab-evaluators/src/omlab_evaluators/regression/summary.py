"""What is measured of named numbers, and how the rows of all cases are summed up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from omlab.abilities import Resampled
from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_figures, groups_of
from omlab_evaluators.regression.agreement import MEASURES, agreement

Floats = NDArray[np.float64]

IN_UNIT = ("mae", "rmse", "bias", "limit_low", "limit_high")
"""Measures that have the unit of the score."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One score over the cases that have both a reference and a result of it."""

    name: str
    unit: str
    cases: list[str]
    groups: list[str | None]
    reference: Floats
    result: Floats
    unmeasured: int
    missing: int

    @property
    def difference(self) -> Floats:
        """Result minus reference."""
        return self.result - self.reference


@dataclass(frozen=True)
class Summary:
    """Each score with its figures by key; `cases` counts all."""

    series: list[Series]
    figures: list[dict[str, Estimate]]
    cases: int


def summarise(rows: CaseRows, *, rounds: int, seed: int) -> Summary:
    """Figures over cases with their intervals. Cases of one group (patient) are drawn together."""
    names = list(dict.fromkeys(row["name"] for case in rows.values() for row in case))
    series = [_series(rows, name) for name in names]
    groups = dict(zip(rows, groups_of(rows), strict=True))
    figures = []
    for one in series:
        estimates = bootstrap_figures(
            partial(agreement, one.reference, one.result),
            rests_on=np.ones((len(MEASURES), len(one.cases)), dtype=bool),
            groups=[groups[case] for case in one.cases],
            rounds=rounds,
            seed=seed,
        )
        figures.append({measure.key: estimate for measure, estimate in zip(MEASURES, estimates, strict=True)})
    return Summary(series, figures, len(rows))


def resampled(rows: CaseRows) -> Resampled:
    """The figures, for weighed cases (`omlab.abilities.Resamples`); those of several scores are named by them."""
    names = list(dict.fromkeys(row["name"] for case in rows.values() for row in case))
    series = [_series(rows, name) for name in names]
    numbers = {case: number for number, case in enumerate(rows)}
    places = [[numbers[case] for case in one.cases] for one in series]
    measures = [
        measure.open(
            name=measure.key if len(series) == 1 else f"{measure.key}_{one.name}",
            unit=one.unit if measure.key in IN_UNIT else "",
        )
        for one in series
        for measure in MEASURES
    ]

    def figures(weights: Floats) -> Floats:
        parts = [
            agreement(one.reference, one.result, weights[:, mine]) for one, mine in zip(series, places, strict=True)
        ]
        return np.concatenate(parts, axis=1)

    return Resampled(measures=measures, figures=figures)


def metrics_of(summary: Summary) -> list[Metric]:
    """The metrics of the report: each measure by score, in its unit where it has that of the score."""
    return [
        measure.metric(figures[measure.key], label=one.name, unit=one.unit if measure.key in IN_UNIT else "")
        for measure in MEASURES
        for one, figures in zip(summary.series, summary.figures, strict=True)
    ]


def _series(rows: CaseRows, name: str) -> Series:
    found = {case: row for case, mine in rows.items() for row in mine if row["name"] == name}
    unit = next((row["unit"] for row in found.values() if row["unit"]), "")
    both = {case: row for case, row in found.items() if row["reference"] is not None and row["result"] is not None}
    return Series(
        name=name,
        unit=unit,
        cases=list(both),
        groups=[row.get("group") for row in both.values()],
        reference=np.array([row["reference"] for row in both.values()], dtype=np.float64),
        result=np.array([row["result"] for row in both.values()], dtype=np.float64),
        unmeasured=sum(row["reference"] is None for row in found.values()),
        missing=sum(row["result"] is None and row["reference"] is not None for row in found.values()),
    )
