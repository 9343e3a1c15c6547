"""Pictures of cases: found boxes and references over the picture, or over the frame of a clip that went worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omlab.roles import Sample
from omlab_evaluators.names import key_of
from omlab_evaluators.overlays import keep

FOUND = 0.5
"""From which overlap on a box is found."""


def draw(sample: Sample, frames: Sequence[Any], *, references: Sequence[Any], score: float, folder: Path) -> None:
    """Write the picture of a case whose input can mark boxes; one that cannot be drawn is warned about.

    Drawn are the boxes from `score` on, of a clip those of the frame with most misses and false alarms. `frames` and
    `references` have a payload of boxes for each frame.
    """
    inputs: list[Any] = [one for one in sample.inputs.values() if hasattr(one, "with_boxes") or hasattr(one, "picture")]
    if not inputs or not frames:
        return
    said = [replace(one, boxes=[box for box in one.boxes if box.score >= score]) for one in frames]
    wrong = [errors(ours.boxes, theirs.boxes) for ours, theirs in zip(references, said, strict=True)]
    worst = max(range(len(said)), key=lambda n: (wrong[n], len(references[n].boxes), -n))
    shown = inputs[0].picture(worst) if hasattr(inputs[0], "picture") else inputs[0]
    keep(sample, lambda: said[worst].overlay({"image": shown}, target=references[worst]), folder=folder)


def errors(references: Sequence[Any], found: Sequence[Any]) -> int:
    """About how many boxes are missed or false alarms: those of either side that no box of the other overlaps."""
    return sum(
        not any(key_of(box.label) == key_of(other.label) and _overlap(box, other) >= FOUND for other in others)
        for side, others in ((references, found), (found, references))
        for box in side
    )


def _overlap(one: Any, other: Any) -> float:
    sides = [
        max(0.0, min(a_far, b_far) - max(a_near, b_near))
        for a_near, a_far, b_near, b_far in zip(one.near, one.far, other.near, other.far, strict=True)
    ]
    common = sides[0] * sides[1]
    areas = [(box.far[0] - box.near[0]) * (box.far[1] - box.near[1]) for box in (one, other)]
    union = sum(areas) - common
    return common / union if union else 0.0
