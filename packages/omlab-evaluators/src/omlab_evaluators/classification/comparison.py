"""Two models on the same cases: their figures side by side, and the difference with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from omlab_evaluators.bootstrap import CaseRows, Estimate, bootstrap_figures, groups_of
from omlab_evaluators.classification.summary import OF_SETS, Floats, Judged, Undefined, judged
from omlab_evaluators.measures import Measure


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One measure of both models over the cases that both have, and the first less the second."""

    measure: Measure
    ours: float | None
    theirs: float | None
    difference: Estimate

    @property
    def is_clear(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)

    @property
    def is_better(self) -> bool:
        """Whether the first model is better, by the value of the difference."""
        value = self.difference.value or 0.0
        return value > 0 if self.measure.higher_is_better else value < 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What comparing found.

    Attributes:
        rows: By measure; empty where no case is common.
        cases: How many cases are common.
        ours_alone: Cases that only the first model was judged on.
        theirs_alone: Cases that only the second was judged on.
        differing: Common cases whose references differ, which count in nothing.
        name: Of the second model.
    """

    rows: Sequence[Compared]
    cases: int
    ours_alone: int
    theirs_alone: int
    differing: int
    name: str

    def to_json(self) -> dict[str, Any]:
        """For `report.json`."""
        rows = [
            {
                "metric": row.measure.key, "ours": row.ours, "theirs": row.theirs, "difference": row.difference.value,
                "low": row.difference.low, "high": row.difference.high,
            }
            for row in self.rows
        ]  # fmt: skip
        counts = {name: getattr(self, name) for name in ("cases", "ours_alone", "theirs_alone", "differing")}
        return {"against": self.name, **counts, "rows": rows}


def compare(
    ours: CaseRows,
    theirs: CaseRows,
    *,
    name: str = "the other model",
    rounds: int = 1000,
    seed: int = 0,
    undefined: Undefined = "left-out",
) -> Comparison:
    """Compare two models by what was measured of each (the rows of `ClassificationEvaluator.measure`, by case).

    Groups (patients) are drawn with replacement, in each round the same for both models, so that what makes a case hard
    for both is not taken for a difference. The interval is the percentile interval of the difference.

    Raises `InputError` where some references are of one class and others of several.
    """
    common = [case for case in ours if case in theirs and ours[case] and theirs[case]]
    alike = [case for case in common if _reference(ours[case][0]) == _reference(theirs[case][0])]
    found = Comparison(
        rows=(),
        cases=len(alike),
        ours_alone=len(ours) - len(common),
        theirs_alone=len(theirs) - len(common),
        differing=len(common) - len(alike),
        name=name,
    )
    if not alike:
        return found
    mine = {case: ours[case] for case in alike}
    first = judged(mine, undefined=undefined)
    second = judged({case: theirs[case] for case in alike}, undefined=undefined)
    measures = [measure for measure in first.overall if measure in second.overall and measure.key not in OF_SETS]

    def figures(one: Judged, weights: Floats) -> Floats:
        return one.figures(weights)[:, [one.overall.index(measure) for measure in measures]]

    once = np.ones((1, len(alike)))
    values = [figures(one, once)[0] for one in (first, second)]
    differences = bootstrap_figures(
        lambda weights: figures(first, weights) - figures(second, weights),
        rests_on=np.ones((len(measures), len(alike)), dtype=bool),
        groups=groups_of(mine),
        rounds=rounds,
        seed=seed,
    )
    rows = [
        Compared(measure=measure, ours=_known(a), theirs=_known(b), difference=difference)
        for measure, a, b, difference in zip(measures, *values, differences, strict=True)
    ]
    return replace(found, rows=rows)


def _reference(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["several"], frozenset(row["right"]), frozenset(row["unknown"]))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
