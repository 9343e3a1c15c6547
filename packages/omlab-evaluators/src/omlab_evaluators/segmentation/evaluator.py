"""Evaluator `segmentation`: Dice, surface Dice (NSD) and HD95 by case and class, with bootstrap intervals.

How empty masks count (after Maier-Hein et al. 2024, Metrics Reloaded, and common practice):

    reference  prediction  status            Dice       surface Dice  HD95
    there      there       found             defined    defined       defined
    there      empty       not found         0          0             undefined
    empty      there       invented          0          0             undefined
    empty      empty       absent            undefined  undefined     undefined

Undefined figures are left out of means; how many there are is always shown beside them. Label maps of pictures and
clips are compared by Dice alone (`omlab_evaluators.segmentation.frames`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.abilities import Resampled
from omlab.errors import GeometryError, InputError
from omlab.roles import Report, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.overlays import draw
from omlab_evaluators.segmentation.boxes import boxes, joined
from omlab_evaluators.segmentation.frames import KINDS, compare_frames
from omlab_evaluators.segmentation.labels import Pair, match_labels
from omlab_evaluators.segmentation.overlap import dice_of_counts, volume_ml
from omlab_evaluators.segmentation.summary import Settings, metrics_of, resampled, status_of, summarise
from omlab_evaluators.segmentation.sureness import sureness_of
from omlab_evaluators.segmentation.surface import surface_dice, surface_distances


def load(card: Any, *, settings: Mapping[str, Any]) -> SegmentationEvaluator:
    """The evaluator of the card, with complete settings."""
    known = dict(settings)
    known["labels"] = tuple(known.get("labels") or ())
    return SegmentationEvaluator(Settings(**known))


class SegmentationEvaluator:
    """Compares predicted label maps with references of the same grid: of volumes, pictures or the frames of clips."""

    headline = "dice"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """One row for each class of the reference; writes a picture into `folder`/overlays.

        What is predicted where the reference is not annotated (`Sample.ignored`) does not count.

        Raises `InputError` where the case has no reference, `GeometryError` where the grids differ.
        """
        target: Any = sample.target
        if target is None:
            raise InputError(f"Case {sample.id} has no reference segmentation to compare the prediction with.")
        if target.kind in KINDS:
            rows = compare_frames(target, result, wanted=self.settings.labels, ignored=sample.ignored, case=sample.id)
        else:
            rows = self._compare_volumes(sample, target, result)
        draw(sample, result, folder=folder)
        return [{"group": sample.group, **row} for row in rows]

    def _compare_volumes(self, sample: Sample, target: Any, result: Any) -> list[dict[str, Any]]:
        _check_grids(target, result, case=sample.id)
        pairs = match_labels(target, result, wanted=self.settings.labels)
        pairs = [pair for pair in pairs if pair.reference not in sample.ignored]
        predicted = np.where(np.isin(target.array, sample.ignored), 0, result.array) if sample.ignored else result.array
        axes = np.asarray(target.affine, dtype=np.float64)[:3, :3]
        ours = boxes(target.array, [pair.reference for pair in pairs])
        theirs = boxes(predicted, [pair.prediction for pair in pairs if pair.prediction is not None])
        rows = []
        for pair in pairs:
            # What is outside both boxes is in neither mask, and changes no figure.
            box = joined(ours.get(pair.reference), None if pair.prediction is None else theirs.get(pair.prediction))
            found = self._compare(target.array[box], predicted[box], pair, axes=axes)
            known = {"label": pair.name, "value": pair.reference}
            rows.append(known | found | sureness_of(result, pair.prediction))
        return rows

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Means with intervals; writes `report.html` and `cases.csv` into `folder`.

        The page also shows `history.json` (a loss curve) and `run.json` (provenance, failed cases) of the
        same folder, where they are there.
        """
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.segmentation import page, page_of_pixels

        summary = summarise(rows, rounds=self.settings.bootstrap, seed=self.settings.seed)
        write_report = page.write_report if summary.has_millimetres else page_of_pixels.write_report
        notes = write_report(rows, summary, settings=self.settings, folder=folder)
        return Report(metrics=metrics_of(summary), notes=notes)

    def resampled(self, rows: CaseRows) -> Resampled:
        """The means over labels, for weighed cases (`omlab.abilities.Resamples`)."""
        return resampled(rows)

    def _compare(
        self, target: NDArray[Any], predicted: NDArray[Any], pair: Pair, *, axes: NDArray[np.float64]
    ) -> dict[str, Any]:
        reference = target == pair.reference
        prediction = np.zeros_like(reference) if pair.prediction is None else predicted == pair.prediction
        ours, theirs, both = (int(np.count_nonzero(one)) for one in (reference, prediction, reference & prediction))
        distances = surface_distances(reference, prediction, axes=axes)
        nsd = surface_dice(distances, tolerance=self.settings.surface_tolerance_mm, both_empty=ours + theirs == 0)
        return {
            "status": status_of(ours, theirs),
            "dice": _json(dice_of_counts(ours, theirs, both=both)),
            "surface_dice": _json(nsd),
            "hd95": None if distances is None else distances.percentile(95),
            "reference_ml": volume_ml(ours, axes=axes),
            "prediction_ml": volume_ml(theirs, axes=axes),
        }


def _check_grids(target: Any, prediction: Any, *, case: str) -> None:
    ours, theirs = target.array.shape, prediction.array.shape
    if ours != theirs:
        raise GeometryError(
            f"The prediction of case {case} has {_shape(theirs)} voxels, its reference {_shape(ours)}: "
            "predict on the reference's own image, or resample one of them first."
        )
    if not target.same_grid(prediction):
        gap = np.abs(np.asarray(target.affine) - np.asarray(prediction.affine)).max()
        raise GeometryError(
            f"The prediction of case {case} lies elsewhere in space than its reference (affines differ by up to "
            f"{gap:.3g}): predict on the reference's own image, or resample one of them first."
        )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _json(value: float) -> float | None:
    return None if math.isnan(value) else value
