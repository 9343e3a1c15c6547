"""Evaluator `perplexity`: how well a model predicts texts, by token and by byte."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omlab.abilities import Resampled
from omlab.roles import Report, Sample
from omlab_evaluators.bootstrap import CaseRows, bootstrap_figures, groups_of
from omlab_evaluators.perplexity.figures import MEASURES, figures, sums_of


def load(card: Any, *, settings: Mapping[str, Any]) -> PerplexityEvaluator:
    """The evaluator of the card, with complete settings."""
    return PerplexityEvaluator(rounds=settings["bootstrap"], seed=settings["seed"])


class PerplexityEvaluator:
    """Sums the log-probabilities of documents; long documents count as much as they are long."""

    headline = "bits_per_byte"

    def __init__(self, *, rounds: int = 1000, seed: int = 0) -> None:
        self.rounds, self.seed = rounds, seed

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """A row: the log-probability (nats), tokens and bytes of all that was scored in the document."""
        return [
            {
                "group": sample.group,
                "logprob": math.fsum(result.logprobs),
                "tokens": sum(result.tokens),
                "bytes": sum(result.bytes),
            }
        ]

    def resampled(self, rows: CaseRows) -> Resampled:
        """The figures, for weighed documents (`omlab.abilities.Resamples`)."""
        sums = sums_of(rows)
        return Resampled(measures=[m.open() for m in MEASURES], figures=lambda weights: figures(weights @ sums))

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Figures with intervals by document; writes `report.html` and `cases.csv`."""
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.perplexity.page import write_report

        rows = dict(sorted(rows.items()))  # draws go by the order of groups, which must not depend on the run's
        sums = sums_of(rows)
        estimates = bootstrap_figures(
            lambda weights: figures(weights @ sums),
            rests_on=np.ones((len(MEASURES), len(rows)), dtype=bool),
            groups=groups_of(rows),
            rounds=self.rounds,
            seed=self.seed,
        )
        whole = {measure.key: found for measure, found in zip(MEASURES, estimates, strict=True)}
        notes = write_report(rows, whole, rounds=self.rounds, seed=self.seed, folder=folder)
        return Report(metrics=[measure.metric(whole[measure.key]) for measure in MEASURES], notes=notes)
