"""Evaluator `ranking`: how well a model's scores rank measured variants, assay by assay and over all proteins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omlab.abilities import Resampled
from omlab.errors import InputError
from omlab.roles import Report, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.ranking.summary import metrics_of, resampled, summarise
from omlab_protein.ranks import auc, mcc, ndcg, spearman, top_recall


def load(card: Any, *, settings: Mapping[str, Any]) -> RankingEvaluator:
    """The evaluator of the card, with complete settings."""
    return RankingEvaluator(rounds=settings["bootstrap"], seed=settings["seed"])


class RankingEvaluator:
    """Compares scores of variants with what was measured of them; a case is an assay, its group the protein."""

    headline = "spearman"

    def __init__(self, *, rounds: int = 1000, seed: int = 0) -> None:
        self.rounds, self.seed = rounds, seed

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """A row: the figures of the assay (None: not defined), its protein and type of function.

        A variant is good where it was measured above the assay's `cutoff` (the sample's meta), else above the median.
        Raises `InputError` where nothing was measured, a variant has no score, or a score is not finite.
        """
        target: Any = sample.target
        if target is None or target.measured is None:
            raise InputError(f"Case {sample.id} has no measured variants to compare scores with.")
        scores = dict(zip(result.mutants, result.scores.tolist(), strict=True))
        lacking = [mutant for mutant in target.mutants if mutant not in scores]
        if lacking:
            raise InputError(f"Case {sample.id}: {len(lacking)} measured variants have no score, such as {lacking[0]}.")
        found = np.array([scores[mutant] for mutant in target.mutants])
        if not np.isfinite(found).all():
            raise InputError(f"Case {sample.id}: a score is not a finite number.")
        measured = np.array(target.measured)
        cutoff = sample.meta.get("cutoff")
        good = measured > (float(np.median(measured)) if cutoff is None else cutoff)
        figures = {
            "spearman": spearman(measured, found),
            "ndcg": ndcg(measured, found),
            "top_recall": top_recall(measured, found),
            "auc": auc(good, found),
            "mcc": mcc(good, found),
        }
        row: dict[str, Any] = {name: None if math.isnan(value) else value for name, value in figures.items()}
        function = sample.meta.get("function")
        return [{"group": sample.group, "function": function, "variants": len(measured), **row}]

    def resampled(self, rows: CaseRows) -> Resampled:
        """The figures, for weighed cases (`omlab.abilities.Resamples`)."""
        return resampled(rows)

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Figures with intervals; writes `report.html` and `cases.csv`."""
        from omlab_evaluators.ranking.page import write_report

        summary = summarise(rows, rounds=self.rounds, seed=self.seed)
        notes = write_report(summary, rounds=self.rounds, seed=self.seed, folder=folder)
        return Report(metrics=metrics_of(summary), notes=notes)
