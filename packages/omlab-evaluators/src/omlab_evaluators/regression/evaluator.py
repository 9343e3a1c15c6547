"""Evaluator `regression`: how far named numbers, such as an ejection fraction, are from their references.

Scores are matched by name; case, spaces, hyphens and underscores do not count. A reference that is not finite was not
measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.abilities import Resampled
from omlab.errors import InputError
from omlab.roles import Report, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.names import matched
from omlab_evaluators.regression.summary import metrics_of, resampled, summarise


def load(card: Any, *, settings: Mapping[str, Any]) -> RegressionEvaluator:
    """The evaluator of the card, with complete settings."""
    return RegressionEvaluator(rounds=settings["bootstrap"], seed=settings["seed"])


class RegressionEvaluator:
    """Compares named numbers with references."""

    headline = "mae"

    def __init__(self, *, rounds: int = 1000, seed: int = 0) -> None:
        self.rounds, self.seed = rounds, seed

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """A row for each score of the reference: `name`, `unit`, `reference`, `result` (None: not measured, not given).

        Raises `InputError` where there is no reference or no score of it in the result, or where units differ.
        """
        target: Any = sample.target
        if target is None or not any(math.isfinite(value) for value in target.values.values()):
            raise InputError(f"Case {sample.id} has no reference number to compare the result with.")
        names = matched(target.values, result.values)
        if not names:
            ours, theirs = (", ".join(map(repr, list(found)[:6])) for found in (target.values, result.values))
            raise InputError(
                f"Case {sample.id}: no score of the reference ({ours}) is one of the model's ({theirs}): evaluate a "
                "model that gives these scores, or name them alike."
            )
        for ours, theirs in names.items():
            _check_units(target.units.get(ours, ""), result.units.get(theirs, ""), name=ours, case=sample.id)
        return [
            {
                "name": name,
                "group": sample.group,
                "unit": target.units.get(name, "") or result.units.get(names.get(name, ""), ""),
                "reference": _known(value),
                "result": _given(result.values[names[name]], name=name, case=sample.id) if name in names else None,
            }
            for name, value in target.values.items()
        ]

    def resampled(self, rows: CaseRows) -> Resampled:
        """The figures, for weighed cases (`omlab.abilities.Resamples`)."""
        return resampled(rows)

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Figures with intervals; writes `report.html` and `cases.csv`.

        The page also shows `history.json` (a loss curve) and the run of the same folder, where they are there.
        """
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.regression.page import write_report

        summary = summarise(rows, rounds=self.rounds, seed=self.seed)
        notes = write_report(summary, rounds=self.rounds, seed=self.seed, folder=folder)
        return Report(metrics=metrics_of(summary), notes=notes)


def _check_units(ours: str, theirs: str, *, name: str, case: str) -> None:
    if ours and theirs and ours != theirs:
        raise InputError(f"Case {case}: '{name}' is in {ours} in the reference and in {theirs} in the result.")


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _given(value: float, *, name: str, case: str) -> float:
    if not math.isfinite(value):
        raise InputError(f"Case {case}: the result '{name}' is {value}, not a finite number.")
    return float(value)
