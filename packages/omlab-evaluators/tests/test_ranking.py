"""The evaluator `ranking` beside the figures and the mean that it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omlab.errors import InputError
from omlab.roles import Sample
from omlab_evaluators.ranking.evaluator import RankingEvaluator
from omlab_protein.proteingym import Assay, aggregate
from omlab_protein.ranks import auc, spearman
from omlab_protein.variants import Variants, VariantScores

MUTANTS = tuple(f"A{n}C" for n in range(1, 41))


def assay(
    number: int, *, noise: float, function: str = "Activity", group: str | None = None
) -> tuple[Sample, VariantScores]:
    generator = np.random.default_rng(number)
    truth = generator.normal(size=len(MUTANTS))
    scores = truth + noise * generator.normal(size=len(MUTANTS))
    target = Variants(mutants=MUTANTS, measured=truth.tolist())
    sample = Sample(id=f"a{number}", inputs={}, target=target, group=group or f"P{number}", meta={"function": function})
    return sample, VariantScores(mutants=MUTANTS[::-1], scores=scores[::-1])


def test_rows_are_the_figures_whatever_the_order_of_variants(tmp_path: Path) -> None:
    sample, result = assay(0, noise=1)
    (row,) = RankingEvaluator().measure(sample, result, tmp_path)
    truth, scores = np.array(sample.target.measured), result.scores[::-1]  # type: ignore[union-attr]
    assert row["spearman"] == pytest.approx(spearman(truth, scores))
    assert row["auc"] == pytest.approx(auc(truth > np.median(truth), scores))
    assert row["variants"] == 40


def test_the_whole_is_proteingyms_mean_within_its_interval(tmp_path: Path) -> None:
    evaluator = RankingEvaluator(rounds=200)
    kinds = [("Activity", "P0"), ("Activity", "P0"), ("Activity", "P1"), ("Stability", "P1"), ("Stability", "P2")]
    cases = [assay(n, noise=n, function=function, group=group) for n, (function, group) in enumerate(kinds)]
    rows = {sample.id: evaluator.measure(sample, result, tmp_path) for sample, result in cases}
    report = evaluator.report(rows, tmp_path)
    found = next(metric for metric in report.metrics if metric.name == "spearman" and metric.label is None)
    values = {name: case[0]["spearman"] for name, case in rows.items()}
    whole = aggregate(values, {f"a{n}": Assay(group, function) for n, (function, group) in enumerate(kinds)})
    assert found.value == pytest.approx(whole)
    assert found.low is not None
    assert found.high is not None
    assert found.low < whole < found.high
    by_type = {metric.label: metric.value for metric in report.metrics if metric.name == "spearman" and metric.label}
    assert np.mean(list(by_type.values())) == pytest.approx(whole)
    assert "Ranking report" in (tmp_path / "report.html").read_text()
    assert len((tmp_path / "cases.csv").read_text().splitlines()) == 6


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    sample, result = assay(0, noise=1)
    few = VariantScores(mutants=MUTANTS[:39], scores=result.scores[:39])
    with pytest.raises(InputError, match="1 measured variants have no score, such as A40C"):
        RankingEvaluator().measure(sample, few, tmp_path)
    blank = Sample(id="b", inputs={}, target=Variants(mutants=MUTANTS))
    with pytest.raises(InputError, match="no measured variants"):
        RankingEvaluator().measure(blank, result, tmp_path)
