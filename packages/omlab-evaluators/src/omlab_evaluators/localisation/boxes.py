"""Boxes of structures on the grid of their reference, and how far two of them differ."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError

Corners = NDArray[np.float64]
"""(2, 3) voxels (i, j, k): the outer faces of the first and of the last voxel, so that one voxel is one wide."""


class Gap(NamedTuple):
    """How far a box is from the right one: overlap, and mean distance of the six walls in mm."""

    iou: float
    wall_distance: float


def reference_boxes(target: Any) -> dict[str, Corners]:
    """The box around each class of a label map, by name."""
    names = {label.value: label.name for label in getattr(target, "labels", ())}
    found = {}
    for value in np.unique(target.array):
        if not value:
            continue
        there = target.array == value
        spans = [np.flatnonzero(there.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        corners = np.array([[span[0] - 0.5 for span in spans], [span[-1] + 0.5 for span in spans]])
        found[names.get(int(value), f"label {value}")] = corners
    return found


def predicted_boxes(result: Any, target: Any) -> dict[str, Corners]:
    """The box of each label of a payload `boxes` on the grid of `target`: that around all, where it has several.

    Raises `InputError` where they are boxes in pixels.
    """
    if result.space == "pixel":
        raise InputError("The boxes are those of a picture, but the reference is a label map of a volume.")
    moved = np.eye(4) if result.space == "voxel" else np.linalg.inv(np.asarray(target.affine, np.float64))
    found: dict[str, Corners] = {}
    for box in result.boxes:
        corners = np.array([*product(*zip(box.near, box.far, strict=True))]) @ moved[:3, :3].T + moved[:3, 3]
        both = np.stack((corners.min(0), corners.max(0)))
        known = found.get(box.label, both)
        found[box.label] = np.stack((np.minimum(known[0], both[0]), np.maximum(known[1], both[1])))
    return found


def gap_between(first: Corners, second: Corners, *, spacing: NDArray[np.float64]) -> Gap:
    """How far two boxes are from each other. `spacing` is in mm along i, j, k."""
    common = float(np.prod(np.maximum(np.minimum(first[1], second[1]) - np.maximum(first[0], second[0]), 0)))
    union = float(np.prod(first[1] - first[0]) + np.prod(second[1] - second[0])) - common
    walls = np.abs(first - second) * spacing
    return Gap(iou=common / union if union else 0.0, wall_distance=float(walls.mean()))
