"""Label maps of pixels: of a picture, or of each frame of a clip. They have no millimetres, so Dice is their figure.

`dice` is of all pixels of a clip together, as one mask over time; `frame_dice` the mean of the frames' own, those left
out that have the class neither in the reference nor in the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError
from omlab_evaluators.segmentation.labels import match_labels
from omlab_evaluators.segmentation.overlap import dice_of_counts
from omlab_evaluators.segmentation.summary import status_of
from omlab_evaluators.segmentation.sureness import sureness_of

KINDS = ("labelmap-2d", "labelmap-clip")


@dataclass(frozen=True, kw_only=True)
class _Label:
    value: int
    name: str


@dataclass(frozen=True, kw_only=True)
class _Frames:
    """Label maps (T, H, W) with the labels that their names tell of, and what their model tells."""

    array: NDArray[Any]
    labels: Sequence[_Label]
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, payload: Any) -> _Frames:
        names: Mapping[int, str] = payload.names
        labels = [_Label(value=value, name=name) for value, name in names.items()]
        array = payload.array if payload.array.ndim == 3 else payload.array[None]
        return cls(array=array, labels=labels, facts=payload.facts)


def compare_frames(
    target: Any, result: Any, *, wanted: Sequence[str | int], ignored: Sequence[int], case: str
) -> list[dict[str, Any]]:
    """One row for each class of the reference. Raises `GeometryError` where pixels or frames differ."""
    if not target.same_grid(result):
        ours, theirs = (" x ".join(map(str, one.array.shape)) for one in (target, result))
        what = "frames and pixels" if target.array.ndim == 3 else "pixels"
        raise GeometryError(
            f"The prediction of case {case} has {theirs} {what}, its reference {ours}: predict on the reference's own "
            "pictures."
        )
    reference, prediction = _Frames.of(target), _Frames.of(result)
    known = ~np.isin(reference.array, ignored) if ignored else None
    rows = []
    for pair in match_labels(reference, prediction, wanted=wanted):
        if pair.reference in ignored:
            continue
        ours = reference.array == pair.reference
        theirs = np.zeros_like(ours) if pair.prediction is None else prediction.array == pair.prediction
        if known is not None:
            theirs &= known
        counts = np.array([part.sum(axis=(1, 2)) for part in (ours, theirs, ours & theirs)], np.int64)  # (3, T)
        whole = counts.sum(axis=1).tolist()
        row = {"label": pair.name, "value": pair.reference, "status": status_of(*whole[:2])}
        row["dice"] = _defined(dice_of_counts(*whole[:2], both=whole[2]))
        if target.array.ndim == 3:
            row |= {"frame_dice": _mean_of_frames(counts), "frames": int((counts[0] > 0).sum())}
        rows.append(row | sureness_of(prediction, pair.prediction))
    return rows


def _mean_of_frames(counts: NDArray[np.int64]) -> float | None:
    total = counts[0] + counts[1]
    there = total > 0
    return float((2 * counts[2, there] / total[there]).mean()) if there.any() else None


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
