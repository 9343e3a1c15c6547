"""Evaluator `axons`: overlaps that forgive a voxel, and recall and precision along centre lines, with intervals.

Whatever is not background counts as an axon. How empty masks count:

    reference  prediction  status       overlaps, clDice, recall  precision  false share
    there      there       found        defined                   defined    undefined
    there      empty       not found    0                         undefined  undefined
    empty      any         no axon      undefined                 undefined  defined

Undefined figures are left out of means; how many cases a mean is over is shown beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, InputError
from omlab.payloads import Payload
from omlab.roles import Report, Sample
from omlab_axonseg.evaluator_summary import MEASURES, PRECISION, Settings, metrics_of, summarise
from omlab_axonseg.metrics import false_share, pooled, score
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.overlays import draw
from omlab_volume.volume import LabelMap


def load(card: Any, *, settings: Mapping[str, Any]) -> AxonEvaluator:
    """The evaluator of the card, with complete settings. Raises `SettingsError`."""
    return AxonEvaluator(Settings(**{**settings, "pooling": tuple(settings["pooling"])}))


class AxonEvaluator:
    """Compares predicted axons with references of the same grid."""

    headline = "cldice"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def measure(self, sample: Sample, result: Payload, folder: Path) -> list[dict[str, Any]]:
        """One row for each window of the pooling; writes a picture into `folder`/overlays.

        What is predicted where the reference is not annotated (`Sample.ignored`) does not count.

        Raises:
            InputError: The case has no reference, or is smaller than a window.
            GeometryError: The grids differ.
        """
        target = sample.target
        if not isinstance(target, LabelMap) or not isinstance(result, LabelMap):
            raise InputError(f"Case {sample.id} needs a label map and a reference label map to compare it with.")
        if not target.same_grid(result):
            raise GeometryError(
                f"The prediction of case {sample.id} has {result.grid.shape} voxels and its reference "
                f"{target.grid.shape}, or they lie apart: predict on the reference's own image."
            )
        largest, least = max(self.settings.pooling), min(target.array.shape)
        if largest > least:
            raise InputError(
                f"Case {sample.id} has a side of {least} voxels, less than the pooling window of {largest}: "
                "give smaller ones with -s pooling=1."
            )
        unknown = np.isin(target.array, sample.ignored)
        label, found = (target.array > 0) & ~unknown, (result.array > 0) & ~unknown
        rows = [
            {"pooling": window, "group": sample.group}
            | compared(pooled(label, window=window), pooled(found, window=window))
            for window in self.settings.pooling
        ]
        draw(sample, result, folder=folder)
        return rows

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Means with intervals; writes `report.html` and `cases.csv` into `folder`."""
        # The page draws figures: its imports would slow down every measurement.
        from omlab_axonseg.evaluator_page import write_report

        means = summarise(rows, self.settings)
        notes = write_report(rows, means, settings=self.settings, folder=folder)
        return Report(metrics=metrics_of(means, self.settings.pooling), notes=notes)


def compared(label: NDArray[np.bool_], found: NDArray[np.bool_]) -> dict[str, Any]:
    """The status and all figures of a mask against its reference; None where undefined."""
    figures: dict[str, Any] = {measure.key: None for measure in MEASURES}
    if not label.any():
        return {"status": "no axon", **figures, "false_share": false_share(found)}
    if not found.any():
        zero = {measure.key: 0.0 for measure in MEASURES if measure.key not in (PRECISION, "false_share")}
        return {"status": "not found", **figures, **zero}
    scores = score(label, found)
    known = {key: getattr(scores, key) for key in figures if hasattr(scores, key)}
    return {"status": "found", **figures, **{key: 0.0 if np.isnan(one) else one for key, one in known.items()}}
