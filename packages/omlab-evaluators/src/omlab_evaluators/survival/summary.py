"""What is measured of risks and survival probabilities, and how the rows of all cases are summed up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab.roles import Metric
from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_figures, groups_of
from omlab_evaluators.measures import Measure
from omlab_evaluators.survival.brier import integrated, squared_errors
from omlab_evaluators.survival.concordance import concordance

Floats = NDArray[np.float64]

CONCORDANCE = Measure("concordance", "Concordance index", help="that the higher risk has its event first")
INTEGRATED = Measure(
    "integrated_brier", "Integrated Brier score", higher_is_better=False, help="mean over the time between horizons"
)
BRIER = Measure("brier", "Brier score", higher_is_better=False, help="squared error of the survival probability")


@dataclass(frozen=True, kw_only=True)
class Followed:
    """All cases as arrays: (cases,), and of `survival` (cases, horizons)."""

    cases: list[str]
    groups: list[str | None]
    unit: str
    times: Floats
    events: NDArray[np.bool_]
    risks: Floats
    horizons: Floats
    survival: Floats

    @cached_property
    def errors(self) -> Floats:
        """What each case adds to the Brier score at each horizon, (cases, horizons)."""
        return squared_errors(self.times, self.events, self.survival, self.horizons)

    def figures(self, weights: Floats) -> Floats:
        """Concordance, integrated Brier score, and the Brier score at each horizon, (rounds, figures)."""
        scores = np.einsum("rn,nt->rt", weights, self.errors) / weights.sum(axis=1)[:, None]
        index = concordance(self.times, self.events, self.risks, weights)
        return np.column_stack([index, integrated(scores, self.horizons), scores])


@dataclass(frozen=True)
class Summary:
    """The figures: concordance, integrated Brier score, and the Brier score at each horizon."""

    followed: Followed
    concordance: Estimate
    integrated: Estimate
    by_horizon: list[Estimate]


def summarise(rows: CaseRows, *, rounds: int, seed: int) -> Summary:
    """Figures over cases with their intervals. Cases of one group (patient) are drawn together. Raises `InputError`."""
    followed = _followed(rows)
    rests_on = np.ones((2 + len(followed.horizons), len(followed.cases)), dtype=bool)
    found = bootstrap_figures(followed.figures, rests_on=rests_on, groups=groups_of(rows), rounds=rounds, seed=seed)
    return Summary(followed, found[0], found[1], found[2:])


def metrics_of(summary: Summary) -> list[Metric]:
    """The metrics of the report; those of probabilities only where the model gives some."""
    metrics = [CONCORDANCE.metric(summary.concordance)]
    if len(summary.followed.horizons):
        metrics.append(INTEGRATED.metric(summary.integrated))
    return metrics + [
        BRIER.metric(estimate, label=f"{horizon:g}")
        for horizon, estimate in zip(summary.followed.horizons, summary.by_horizon, strict=True)
    ]


def _followed(rows: CaseRows) -> Followed:
    row_of = {case: mine[0] for case, mine in rows.items()}
    forms = {tuple(row["survival"]): case for case, row in row_of.items()}
    if len(forms) > 1:
        (first, one), (second, other) = list(forms.items())[:2]
        said = [", ".join(form) or "none" for form in (first, second)]
        raise InputError(
            f"Case {one} has survival probabilities of the times {said[0]}, case {other} of {said[1]}: let all "
            "have the same."
        )
    horizons = np.array([float(name) for name in next(iter(forms), ())])
    return Followed(
        cases=list(row_of),
        groups=[row.get("group") for row in row_of.values()],
        unit=next((row["unit"] for row in row_of.values() if row["unit"]), ""),
        times=np.array([row["time"] for row in row_of.values()], dtype=np.float64),
        events=np.array([row["event"] for row in row_of.values()], dtype=bool),
        risks=np.array([row["risk"] for row in row_of.values()], dtype=np.float64),
        horizons=horizons,
        survival=np.array([list(row["survival"].values()) for row in row_of.values()], dtype=np.float64).reshape(
            len(row_of), len(horizons)
        ),
    )
