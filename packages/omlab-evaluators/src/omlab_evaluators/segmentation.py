"""Evaluator `segmentation`: Dice, surface Dice (NSD) and HD95 by case and class, with bootstrap intervals.

How empty masks count (after Maier-Hein et al. 2024, Metrics Reloaded, and common practice):

    reference  prediction  status            Dice       surface Dice  HD95
    there      there       found             defined    defined       defined
    there      empty       not found         0          0             undefined
    empty      there       invented          0          0             undefined
    empty      empty       absent            undefined  undefined     undefined

Undefined figures are left out of means; how many there are is always shown beside them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, InputError, SettingsError
from omlab.files import writing
from omlab.roles import Metric, Report, Sample
from omlab_evaluators.bootstrap import Mean, bootstrap_means
from omlab_evaluators.labels import Pair, match_labels
from omlab_evaluators.overlap import dice, volume_ml
from omlab_evaluators.overlay import overlays
from omlab_evaluators.surface import surface_dice, surface_distances
from omlab_report import encode_png

Status = Literal["found", "not found", "invented", "absent"]
Row = Mapping[str, Any]
CaseRows = Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Measure:
    """One of the figures: its key in rows and metrics, and how it is shown."""

    key: str
    title: str
    unit: str = ""
    higher_is_better: bool = True
    digits: int = 3


MEASURES = (
    Measure("dice", "Dice"),
    Measure("surface_dice", "Surface Dice"),
    Measure("hd95", "HD95", unit="mm", higher_is_better=False, digits=2),
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user may set; see the card."""

    surface_tolerance_mm: float = 2.0
    bootstrap: int = 1000
    seed: int = 0
    labels: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.surface_tolerance_mm) and self.surface_tolerance_mm >= 0):
            raise SettingsError(f"surface_tolerance_mm must be 0 or more, not {self.surface_tolerance_mm}.")
        if self.bootstrap < 1:
            raise SettingsError(f"bootstrap must be at least 1 round, not {self.bootstrap}.")


@dataclass(frozen=True)
class Summary:
    """The figures of all cases: for each measure one mean per class and their mean over classes."""

    labels: list[str]
    by_label: dict[str, list[Mean]]
    overall: dict[str, Mean]


def load(card: Any, *, settings: Mapping[str, Any]) -> SegmentationEvaluator:
    """The evaluator of the card, with complete settings."""
    known = dict(settings)
    known["labels"] = tuple(known.get("labels") or ())
    return SegmentationEvaluator(Settings(**known))


class SegmentationEvaluator:
    """Compares predicted label maps with references of the same grid."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def measure(self, sample: Sample, prediction: Any, *, folder: Path) -> list[dict[str, Any]]:
        """One row for each class of the reference; writes three overlays into `folder`/overlays.

        Raises `InputError` where the case has no reference, `GeometryError` where the grids differ.
        """
        target: Any = sample.target
        if target is None:
            raise InputError(f"Case {sample.id} has no reference segmentation to compare the prediction with.")
        _check_grids(target, prediction, case=sample.id)
        pairs = match_labels(target, prediction, wanted=self.settings.labels)
        axes = np.asarray(target.affine, dtype=np.float64)[:3, :3]
        rows = [
            {"label": pair.name, "value": pair.reference, "group": sample.group}
            | self._compare(target.array, prediction.array, pair, axes=axes)
            for pair in pairs
        ]
        image = sample.payload if getattr(sample.payload, "kind", "") == "volume" else None
        _write_overlays(overlays(target, prediction, image=image, pairs=pairs), case=sample.id, folder=folder)
        return rows

    def report(self, rows: CaseRows, *, folder: Path) -> Report:
        """Means with intervals; writes `report.html` and `cases.csv` into `folder`.

        The page also shows `history.json` (a loss curve) and `run.json` (provenance, failed cases) of the
        same folder, where they are there.
        """
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.segmentation_page import write_report

        summary = summarise(rows, rounds=self.settings.bootstrap, seed=self.settings.seed)
        notes = write_report(rows, summary, settings=self.settings, folder=folder)
        return Report(metrics=metrics_of(summary), notes=notes)

    def _compare(
        self, target: NDArray[Any], predicted: NDArray[Any], pair: Pair, *, axes: NDArray[np.float64]
    ) -> dict[str, Any]:
        reference = target == pair.reference
        prediction = np.zeros_like(reference) if pair.prediction is None else predicted == pair.prediction
        ours, theirs = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
        distances = surface_distances(reference, prediction, axes=axes)
        nsd = surface_dice(distances, tolerance=self.settings.surface_tolerance_mm, both_empty=ours + theirs == 0)
        return {
            "status": _status(ours, theirs),
            "dice": _json(dice(reference, prediction)),
            "surface_dice": _json(nsd),
            "hd95": None if distances is None else distances.percentile(95),
            "reference_ml": volume_ml(ours, axes=axes),
            "prediction_ml": volume_ml(theirs, axes=axes),
        }


def summarise(rows: CaseRows, *, rounds: int, seed: int) -> Summary:
    """Means over cases with their intervals. Cases of one group (patient) are drawn together."""
    labels = list(dict.fromkeys(row["label"] for case in rows.values() for row in case))
    place = {label: n for n, label in enumerate(labels)}
    # A case without a group is a group of its own; the mark keeps its id from being taken for a group's name.
    groups: list[tuple[str, str]] = [
        next((("group", row["group"]) for row in case if row.get("group")), ("case", name))
        for name, case in rows.items()
    ]
    by_label, overall = {}, {}
    for measure in MEASURES:
        values = np.full((len(rows), len(labels)), np.nan)
        for n, case in enumerate(rows.values()):
            for row in case:
                if row[measure.key] is not None:
                    values[n, place[row["label"]]] = row[measure.key]
        by_label[measure.key], overall[measure.key] = bootstrap_means(values, groups=groups, rounds=rounds, seed=seed)
    return Summary(labels, by_label, overall)


def metrics_of(summary: Summary) -> list[Metric]:
    """The metrics of the report: every measure by label, then as mean over the labels (label None)."""
    metrics = []
    for measure in MEASURES:
        for label, mean in zip(
            [*summary.labels, None], [*summary.by_label[measure.key], summary.overall[measure.key]], strict=True
        ):
            metrics.append(
                Metric(
                    name=measure.key,
                    label=label,
                    value=mean.value,
                    low=mean.low,
                    high=mean.high,
                    n=mean.n,
                    unit=measure.unit,
                    higher_is_better=measure.higher_is_better,
                )
            )
    return metrics


def overlay_path(folder: Path, *, case: str, plane: str) -> Path:
    """Where the overlay of a case and plane lies. Ids that are no plain file names get a digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", case).lstrip(".")[:80]
    if plain != case:
        plain = f"{plain}-{hashlib.sha256(case.encode('utf-8')).hexdigest()[:8]}"
    return folder / "overlays" / f"{plain}-{plane}.png"


def _status(ours: int, theirs: int) -> Status:
    if ours and theirs:
        return "found"
    if ours:
        return "not found"
    return "invented" if theirs else "absent"


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


def _write_overlays(pictures: Mapping[str, NDArray[np.uint8]], *, case: str, folder: Path) -> None:
    for plane, picture in pictures.items():
        path = overlay_path(folder, case=case, plane=plane)
        with writing("An overlay", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(picture))
