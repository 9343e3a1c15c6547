"""Figures for parts of the cases, such as each site or sex: does the model serve all of them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omlab.errors import InputError
from omlab.roles import Sample
from omlab_evaluators.bootstrap import CaseRows, Estimate, groups_of
from omlab_evaluators.classification.summary import Judged, Summary, summary_of

UNKNOWN = "not known"
MOST = 30
"""Values of a column that are shown, those with most cases."""
RANGES = 3
"""Of a column with more than `FEW_NUMBERS` different numbers (age), as many ranges with about as many cases each."""
FEW_NUMBERS = 8

RANKED = ("auroc", "balanced_accuracy", "accuracy")
"""The first of these that is defined in two groups says which one is the worst."""


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """One value of a column, with the figures of its cases."""

    value: str
    summary: Summary

    @property
    def cases(self) -> int:
        """How many."""
        return len(self.summary.judged.cases)


@dataclass(frozen=True, kw_only=True)
class Subgroups:
    """The values of a column; `hidden` of them have too few cases to be shown among the others.

    `ranked_by` is the key of the figure that says which is the worst; None where it is defined in none or one.
    """

    column: str
    groups: Sequence[Subgroup]
    hidden: int
    ranked_by: str | None

    @property
    def worst(self) -> Subgroup | None:
        """The group with the lowest figure, of those whose value is known."""
        if self.ranked_by is None:
            return None
        return min(self._ranked(self.ranked_by), key=lambda group: _value(group, str(self.ranked_by)))

    @property
    def best(self) -> Subgroup | None:
        """The group with the highest figure."""
        if self.ranked_by is None:
            return None
        return max(self._ranked(self.ranked_by), key=lambda group: _value(group, str(self.ranked_by)))

    def _ranked(self, key: str) -> list[Subgroup]:
        known = (group for group in self.groups if group.value != UNKNOWN)
        return [group for group in known if group.summary.overall[key].value is not None]

    def to_json(self) -> dict[str, Any]:
        """For `report.json`."""
        worst = self.worst
        return {
            "column": self.column,
            "worst": None if worst is None else worst.value,
            "ranked_by": self.ranked_by,
            "groups": [
                {"value": group.value, "cases": group.cases}
                | {key: _json(estimate) for key, estimate in group.summary.overall.items()}
                for group in self.groups
            ],
        }


def values_of(sample: Sample, columns: Sequence[str]) -> dict[str, Any]:
    """What a case says in these columns, None where it says nothing. Raises `InputError` where one is not there."""
    found = {}
    for name in columns:
        if name not in sample.meta:
            there = ", ".join(sample.meta) or "nothing"
            raise InputError(
                f"Case {sample.id} has no '{name}' for the setting subgroups; beside its inputs it has {there}. "
                f"Columns of a table of cases are kept with -s data.meta={name}."
            )
        value = sample.meta[name]
        found[name] = None if value is None or str(value).strip() == "" else str(value).strip()
    return found


def by_subgroup(rows: CaseRows, judged: Judged, *, columns: Sequence[str], rounds: int, seed: int) -> list[Subgroups]:
    """The figures of each value of each column, with intervals by patient within it."""
    groups = groups_of(rows)
    found = []
    for column in columns:
        values = _ranges([case[0].get("subgroups", {}).get(column) for case in rows.values()])
        places: dict[str, list[int]] = {}
        for place, value in enumerate(values):
            places.setdefault(value, []).append(place)
        shown = sorted(sorted(places), key=lambda value: -len(places[value]))[:MOST]
        parts = [
            Subgroup(
                value=value,
                summary=summary_of(
                    judged.part(places[value]), groups=[groups[n] for n in places[value]], rounds=rounds, seed=seed
                ),
            )
            for value in sorted(shown, key=lambda value: (value == UNKNOWN, _order(value)))
        ]
        found.append(
            Subgroups(column=column, groups=parts, hidden=len(places) - len(parts), ranked_by=_ranked_by(parts))
        )
    return found


def _ranges(values: Sequence[str | None]) -> list[str]:
    """Values as they are shown: many different numbers become ranges."""
    numbers = [_number(value) for value in values]
    known = sorted({number for number in numbers if number is not None})
    is_numeric = all(number is not None for number, value in zip(numbers, values, strict=True) if value is not None)
    if not is_numeric or len(known) <= FEW_NUMBERS:
        return [UNKNOWN if value is None else value for value in values]
    cuts = np.quantile([n for n in numbers if n is not None], np.linspace(0, 1, RANGES + 1)).tolist()
    names = [f"{low:g} to {'' if last else 'below '}{high:g}" for low, high, last in _pairs(cuts)]
    places = [
        None if n is None else min(int(np.searchsorted(cuts[1:-1], n, side="right")), RANGES - 1) for n in numbers
    ]
    return [UNKNOWN if place is None else names[place] for place in places]


def _pairs(cuts: Sequence[float]) -> list[tuple[float, float, bool]]:
    return [(cuts[n], cuts[n + 1], n == len(cuts) - 2) for n in range(len(cuts) - 1)]


def _ranked_by(groups: Sequence[Subgroup]) -> str | None:
    for key in RANKED:
        if sum(group.summary.overall[key].value is not None for group in groups if group.value != UNKNOWN) > 1:
            return key
    return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and np.isfinite(number) else None


def _order(value: str) -> tuple[float, str]:
    """Numbers by size, ranges by where they begin, then texts."""
    number = _number(value.partition(" to ")[0])
    return (np.inf if number is None else number, value)


def _value(group: Subgroup, key: str) -> float:
    value = group.summary.overall[key].value
    return np.inf if value is None else value


def _json(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
