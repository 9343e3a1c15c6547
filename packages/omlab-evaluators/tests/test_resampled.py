"""Figures for weighed cases: those of a report where every case counts once, and of its repeated rows where one counts
twice."""

from __future__ import annotations

import numpy as np
import pytest

from omlab.abilities import Resamples
from omlab_evaluators.classification.evaluator import ClassificationEvaluator
from omlab_evaluators.regression.evaluator import RegressionEvaluator
from omlab_evaluators.segmentation.evaluator import SegmentationEvaluator
from omlab_evaluators.segmentation.summary import Settings


def rows_of(task):
    draw = np.random.default_rng(0)
    rows = {}
    for n in range(12):
        value = float(draw.random())
        case = {
            "segmentation": [
                {
                    "label": name, "value": 1, "group": None, "status": "found", "dice": value * part,
                    "surface_dice": value, "hd95": None, "reference_ml": 1.0, "prediction_ml": 1.0,
                }
                for name, part in (("a", 1.0), ("b", 0.5))
            ],
            "regression": [
                {"name": "ef", "group": None, "unit": "%", "reference": 50 * value, "result": 50 * float(draw.random())}
            ],
            "classification": [
                {
                    "group": None, "several": False, "classes": ["x", "y"], "right": ["x" if n % 3 else "y"],
                    "unknown": [], "predicted": ["x"], "probabilities": {"x": value, "y": 1 - value},
                }
            ],
        }[task]  # fmt: skip
        rows[f"case {n}"] = case
    return rows


EVALUATORS = {
    "segmentation": SegmentationEvaluator(Settings(bootstrap=1)),
    "regression": RegressionEvaluator(rounds=1),
    "classification": ClassificationEvaluator(rounds=1),
}


@pytest.mark.parametrize("task", EVALUATORS)
def test_whole_numbers_of_cases_are_cases(task, tmp_path):
    evaluator, rows = EVALUATORS[task], rows_of(task)
    assert isinstance(evaluator, Resamples)
    found = evaluator.resampled(rows)
    names = [measure.name for measure in found.measures]
    assert evaluator.headline in names
    counts = np.array([[1.0] * 12, [2.0, 0.0, 3.0] + [1.0] * 9])
    once, several = found.figures(counts)
    reported = {
        metric.name: metric.value for metric in evaluator.report(rows, tmp_path).metrics if metric.label in (None, "ef")
    }
    for name, value in zip(names, once.tolist(), strict=True):
        assert reported[name] is None if np.isnan(value) else value == pytest.approx(reported[name])
    repeated = {
        f"{id} {copy}": case
        for (id, case), count in zip(rows.items(), counts[1], strict=True)
        for copy in range(int(count))
    }
    (again,) = evaluator.resampled(repeated).figures(np.ones((1, len(repeated))))
    assert several == pytest.approx(again, nan_ok=True)
