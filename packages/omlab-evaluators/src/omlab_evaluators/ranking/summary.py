"""The figures of all assays, averaged as ProteinGym does: assays, then proteins, then types of function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab.abilities import Resampled
from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_figures
from omlab_evaluators.measures import Measure
from omlab_protein.proteingym import Assay, aggregate, by_function

Floats = NDArray[np.float64]

MEASURES = (
    Measure("spearman", "Spearman", help="correlation of ranks; ties get their mean rank"),
    Measure("ndcg", "NDCG", help="gain among the best tenth by score, of the most that could be"),
    Measure("top_recall", "Recall of the best", help="of the best tenth, the share among the best tenth by score"),
    Measure("auc", "AUC", help="good variants against the others"),
    Measure("mcc", "MCC", help="good variants against scores from the median on"),
)
UNKNOWN = "not stated"
"""The type of function of an assay that states none."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of each assay, their mean as published, and the mean of each type of function, by measure."""

    assays: Mapping[str, Assay]
    values: Mapping[str, Mapping[str, float]]
    variants: Mapping[str, int]
    whole: Mapping[str, Estimate]
    functions: Mapping[str, Mapping[str, float]]


def summarise(rows: CaseRows, *, rounds: int, seed: int) -> Summary:
    """Figures with intervals: proteins are drawn, with all of their assays."""
    assays, values = _assays(rows), _values(rows)
    defined = np.array([[not math.isnan(values[m.key][name]) for name in rows] for m in MEASURES], dtype=bool)
    estimates = bootstrap_figures(
        _statistic(assays, values),
        rests_on=defined.reshape(len(MEASURES), len(rows)),
        groups=[assays[name].protein for name in rows],
        rounds=rounds,
        seed=seed,
    )
    return Summary(
        assays=assays,
        values=values,
        variants={name: case[0]["variants"] for name, case in rows.items()},
        whole={measure.key: estimate for measure, estimate in zip(MEASURES, estimates, strict=True)},
        functions={measure.key: by_function(values[measure.key], assays) for measure in MEASURES},
    )


def resampled(rows: CaseRows) -> Resampled:
    """The figures, for weighed cases (`omlab.abilities.Resamples`)."""
    return Resampled(
        measures=[measure.open() for measure in MEASURES], figures=_statistic(_assays(rows), _values(rows))
    )


def metrics_of(summary: Summary) -> list[Metric]:
    """Each measure of the whole, then by type of function."""
    metrics = [measure.metric(summary.whole[measure.key]) for measure in MEASURES]
    for measure in MEASURES:
        for function, value in summary.functions[measure.key].items():
            assays = [name for name, assay in summary.assays.items() if assay.function == function]
            metrics.append(measure.metric(Estimate(value, None, None, len(assays)), label=function))
    return metrics


def _statistic(assays: Mapping[str, Assay], values: Mapping[str, Mapping[str, float]]) -> Callable[[Floats], Floats]:
    """The means of each round. A protein's assays come together, so that what one counts is what all count."""
    names = list(assays)

    def figures(weights: Floats) -> Floats:
        found = np.empty((len(weights), len(MEASURES)))
        for number, round_ in enumerate(weights):
            counts = {assays[name].protein: float(count) for name, count in zip(names, round_, strict=True)}
            found[number] = [aggregate(values[measure.key], assays, counts=counts) for measure in MEASURES]
        return found

    return figures


def _assays(rows: CaseRows) -> dict[str, Assay]:
    return {name: Assay(case[0]["group"] or name, case[0]["function"] or UNKNOWN) for name, case in rows.items()}


def _values(rows: CaseRows) -> dict[str, dict[str, float]]:
    """By measure and assay; NaN where it could not be had."""
    return {
        measure.key: {
            name: math.nan if case[0][measure.key] is None else case[0][measure.key] for name, case in rows.items()
        }
        for measure in MEASURES
    }
