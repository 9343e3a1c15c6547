"""Evaluator `survival`: are those who had the event sooner told from the others, and do survival probabilities hold.

References are scores `time` (of the event, or of the end of follow-up) and `event` (1: it was the event, 0: it was
not). Results are scores: `risk`, the higher the sooner the event, and where the model gives them `survival@T`, the
probability of no event until the time T, for any number of times, the same in all cases. Without a risk it is the
mean of 1 - survival.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.errors import InputError
from omlab.roles import Report, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.names import matched
from omlab_evaluators.survival.summary import metrics_of, summarise

TIME, EVENT, RISK, SURVIVAL = "time", "event", "risk", "survival@"


def load(card: Any, *, settings: Mapping[str, Any]) -> SurvivalEvaluator:
    """The evaluator of the card, with complete settings."""
    return SurvivalEvaluator(rounds=settings["bootstrap"], seed=settings["seed"])


class SurvivalEvaluator:
    """Compares risks and survival probabilities with follow-up."""

    def __init__(self, *, rounds: int = 1000, seed: int = 0) -> None:
        self.rounds, self.seed = rounds, seed

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """One row: `time`, `event`, `risk`, `survival` by time, `unit`.

        Raises `InputError` where the reference or the result lacks one of them, or has a number that cannot be.
        """
        time, event, unit = _followed(sample)
        survival = {}
        for name, value in result.values.items():
            if name.startswith(SURVIVAL):
                survival[_horizon(name, case=sample.id)] = _probability(value, name=name, case=sample.id)
        names = matched([RISK], result.values)
        if not names and not survival:
            given = ", ".join(map(repr, result.values))
            raise InputError(
                f"Case {sample.id}: the result ({given}) has neither a number '{RISK}' nor probabilities "
                f"'{SURVIVAL}TIME'."
            )
        risk = result.values[names[RISK]] if names else 1 - sum(survival.values()) / len(survival)
        if not math.isfinite(risk):
            raise InputError(f"Case {sample.id}: the risk is {risk}, not a finite number.")
        return [
            {
                "group": sample.group,
                "time": time,
                "event": event,
                "unit": unit,
                "risk": float(risk),
                "survival": {repr(horizon): survival[horizon] for horizon in sorted(survival)},
            }
        ]

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Figures with intervals; writes `report.html` and `cases.csv`.

        Raises `InputError` where cases have probabilities of different times.
        """
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.survival.page import write_report

        rows = dict(sorted(rows.items()))  # draws go by the order of patients, which must not depend on the run's
        summary = summarise(rows, rounds=self.rounds, seed=self.seed)
        notes = write_report(summary, rounds=self.rounds, seed=self.seed, folder=folder)
        return Report(metrics=metrics_of(summary), notes=notes)


def _followed(sample: Sample) -> tuple[float, bool, str]:
    """Time, event and the unit of time of a reference."""
    target: Any = sample.target
    names = matched([TIME, EVENT], target.values) if target is not None else {}
    if len(names) < 2:
        there = ", ".join(map(repr, target.values)) if target is not None else "nothing"
        raise InputError(f"Case {sample.id}: the reference must have '{TIME}' and '{EVENT}', but has {there}.")
    time, event = (target.values[names[name]] for name in (TIME, EVENT))
    if not math.isfinite(time) or time < 0:
        raise InputError(f"Case {sample.id}: the time of the reference is {time}, but must be 0 or more.")
    if event not in (0, 1):
        raise InputError(f"Case {sample.id}: the event of the reference is {event}, but must be 1 (it was) or 0.")
    return float(time), bool(event), str(target.units.get(names[TIME], ""))


def _horizon(name: str, *, case: str) -> float:
    try:
        horizon = float(name.removeprefix(SURVIVAL))
    except ValueError:
        horizon = math.nan
    if not math.isfinite(horizon) or horizon <= 0:
        raise InputError(f"Case {case}: '{name}' names no time: write it as {SURVIVAL}365.")
    return horizon


def _probability(value: float, *, name: str, case: str) -> float:
    if not 0 <= value <= 1:
        raise InputError(f"Case {case}: '{name}' is {value}, but a probability lies between 0 and 1.")
    return float(value)
