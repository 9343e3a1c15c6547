"""Evaluator `detection`: boxes in pictures and in the frames of clips against reference boxes.

A found box is a hit, a false alarm, or counts not at all (`omlab_evaluators.detection.matching`), each frame by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.abilities import Resampled
from omlab.errors import InputError, SettingsError
from omlab.roles import Metric, Report, Sample
from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.detection.matching import Matches, match
from omlab_evaluators.detection.pictures import draw
from omlab_evaluators.detection.records import packed
from omlab_evaluators.detection.summary import FRAMES, judged, metrics_of, resampled, whose
from omlab_evaluators.names import key_of


def load(card: Any, *, settings: Mapping[str, Any]) -> DetectionEvaluator:
    """The evaluator of the card, with complete settings."""
    return DetectionEvaluator(score=settings["score"], rounds=settings["bootstrap"], seed=settings["seed"])


class DetectionEvaluator:
    """Compares found boxes with reference boxes; payloads `boxes`, or `boxes-clip` with those of each frame.

    Args:
        score: The operating point: from which score on a box is said to be there.
        rounds: Of the bootstrap.
        seed: Of the bootstrap.
    """

    headline = "ap"

    def __init__(self, *, score: float = 0.5, rounds: int = 1000, seed: int = 0) -> None:
        if rounds < 1:
            raise SettingsError(f"bootstrap must be at least 1 round, not {rounds}.")
        self.score, self.rounds, self.seed = score, rounds, seed

    def measure(self, sample: Sample, result: Any, folder: Path) -> list[dict[str, Any]]:
        """One row: the matches of each class, and how many frames have boxes; a picture into `folder`.

        Raises `InputError` where the case has no reference, boxes are not in pixels or without a score, or result and
        reference have other numbers of frames.
        """
        if sample.target is None:
            raise InputError(f"Case {sample.id} has no reference boxes to compare the found ones with.")
        ours, theirs = _frames(sample.target, case=sample.id), _frames(result, case=sample.id)
        if len(ours) != len(theirs):
            raise InputError(
                f"The result of case {sample.id} has {len(theirs)} frames, its reference {len(ours)}: predict on the "
                "reference's own clip."
            )
        parts: dict[str, list[Matches]] = {}
        names: dict[str, str] = {}
        for references, found in ((one.boxes, other.boxes) for one, other in zip(ours, theirs, strict=True)):
            for label in (box.label for side in (references, found) for box in side):
                names.setdefault(key_of(label), label)
            for key in {key_of(box.label) for side in (references, found) for box in side}:
                parts.setdefault(key, []).append(_matched(key, references, found, case=sample.id))
        draw(sample, theirs, references=ours, score=self.score, folder=folder)
        return [
            {
                "group": sample.group,
                "frames": len(ours),
                "frames_with": self._frames_with(ours, theirs),
                "classes": {names[key]: packed(Matches.joined(parts[key])) for key in sorted(parts)},
            }
        ]

    def _frames_with(self, ours: Sequence[Any], theirs: Sequence[Any]) -> dict[str, int]:
        """How many frames have a reference, and a box from the operating point on: `FRAMES`."""
        have = Counter(
            (any(not box.crowd for box in one.boxes), any(box.score >= self.score for box in other.boxes))
            for one, other in zip(ours, theirs, strict=True)
        )
        return {name: have[which] for name, which in FRAMES.items()}

    def figures(self, rows: CaseRows) -> list[Metric]:
        """All figures with their intervals."""
        return metrics_of(judged(rows, score=self.score), whose(rows), rounds=self.rounds, seed=self.seed)

    def resampled(self, rows: CaseRows) -> Resampled:
        """The figures of all classes together, for weighed cases (`omlab.abilities.Resamples`)."""
        return resampled(rows, score=self.score)

    def report(self, rows: CaseRows, folder: Path) -> Report:
        """Figures with intervals; writes `report.html`, `cases.csv` and `curves.csv` into `folder`."""
        # The page draws figures: its imports would slow down every measurement.
        from omlab_evaluators.detection.page import Point, write_report

        metrics = self.figures(rows)
        point = Point(score=self.score, rounds=self.rounds, seed=self.seed)
        return Report(metrics=metrics, notes=write_report(rows, metrics, point=point, folder=folder))


def _frames(payload: Any, *, case: str) -> Sequence[Any]:
    """The boxes of each frame; a picture is one frame."""
    frames: Sequence[Any] = payload.frames if hasattr(payload, "frames") else [payload]
    other = next((one.space for one in frames if one.space != "pixel"), None)
    if other is not None:
        raise InputError(
            f"The boxes of case {case} are in {other} space, but detection compares those in pixels of pictures; boxes "
            "in volumes are judged by the evaluator 'localisation'."
        )
    return frames


def _matched(key: str, references: Sequence[Any], found: Sequence[Any], *, case: str) -> Matches:
    """The boxes of one class in one frame."""
    ours, theirs = ([box for box in side if key_of(box.label) == key] for side in (references, found))
    if any(box.score is None for box in theirs):
        raise InputError(
            f"A found box ('{key}') of case {case} has no score, but each needs one: detections are ranked by them."
        )
    return match(
        _corners(ours),
        np.array([box.crowd for box in ours], bool),
        _corners(theirs),
        np.array([box.score for box in theirs], np.float64),
    )


def _corners(boxes: Sequence[Any]) -> NDArray[np.float64]:
    """(n, 4): left, top, width, height."""
    rows = [(*box.near, box.far[0] - box.near[0], box.far[1] - box.near[1]) for box in boxes]
    return np.array(rows, np.float64).reshape(len(rows), 4)
