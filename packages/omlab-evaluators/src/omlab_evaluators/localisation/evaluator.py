"""Evaluator `localisation`: overlap and distance of walls of the box of each structure, with bootstrap intervals.

How structures count that only one of both has:

    reference  prediction  status            box IoU      wall distance
    there      there       found             defined      defined
    there      none        not found         0            undefined
    none       there       invented          undefined    undefined

Undefined figures are left out of means; how many there are is shown beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omlab.errors import InputError, SettingsError
from omlab.roles import Report, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.localisation.boxes import gap_between, predicted_boxes, reference_boxes
from omlab_evaluators.localisation.summary import metrics_of, summarise
from omlab_evaluators.names import matched
from omlab_evaluators.overlays import draw


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user may set; see the card."""

    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bootstrap < 1:
            raise SettingsError(f"bootstrap must be at least 1 round, not {self.bootstrap}.")


def load(card: Any, *, settings: Mapping[str, Any]) -> LocalisationEvaluator:
    """The evaluator of the card, with complete settings."""
    return LocalisationEvaluator(Settings(**settings))


class LocalisationEvaluator:
    """Compares boxes of structures with the boxes around the classes of label maps."""

    headline = "wall_distance"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """One row for each structure of either; writes a picture into `folder`/overlays.

        Raises `InputError` where the case has no reference, or the boxes are those of a picture.
        """
        target: Any = sample.target
        if target is None:
            raise InputError(f"Case {sample.id} has no reference label map to compare the boxes with.")
        ours, theirs = reference_boxes(target), predicted_boxes(result, target)
        spacing = np.linalg.norm(np.asarray(target.affine, np.float64)[:3, :3], axis=0)
        names = matched(ours, theirs)
        rows: list[dict[str, Any]] = []
        for name, corners in ours.items():
            row = {"label": name, "group": sample.group, "status": "not found", "iou": 0.0, "wall_distance": None}
            if name in names:
                gap = gap_between(corners, theirs[names[name]], spacing=spacing)
                row |= {"status": "found", "iou": gap.iou, "wall_distance": gap.wall_distance}
            rows.append(row)
        for name in sorted(theirs.keys() - names.values()):
            undefined = {"iou": None, "wall_distance": None}
            rows.append({"label": name, "group": sample.group, "status": "invented", **undefined})
        draw(sample, result, folder=folder)
        return rows

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Means with intervals; writes `report.html` and `cases.csv` into `folder`."""
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.localisation.page import write_report

        summary = summarise(rows, rounds=self.settings.bootstrap, seed=self.settings.seed)
        notes = write_report(rows, summary, rounds=self.settings.bootstrap, seed=self.settings.seed, folder=folder)
        return Report(metrics=metrics_of(summary), notes=notes)
