"""The gate of the kind `labelmap`: whether structures are as large as those that the model learned from.

A card's `[model.does.VERB.expects.result]`, or what was learned from training cases:

    volume_ml = { liver = [900, 2300, 20] }    # least, most, and of how many cases
    right_of = [["liver", "spleen"]]           # the first lies further to the patient's right than the second

A structure that touches a side of the image may be cut off, and is not called too small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from omlab_volume.labels import complete_labels, voxel_counts
from omlab_volume.orientation import canonical_array
from omlab_volume.volume import LabelMap

FEWEST = 4
"""Training cases that a range is made of at least."""
SLACK = 0.25
"""How far beyond the range a volume may lie, as a part of the nearer end, for few cases; for many less."""


def check(labelmap: LabelMap, expected: Mapping[str, Any]) -> dict[str, Any]:
    """`doubts` about a label map, a sentence each, and `volume_ml` of each structure with what was expected (JSON)."""
    found = volumes_ml(labelmap)
    doubts, shown = [], {}
    for name, (low, high, *count) in expected.get("volume_ml", {}).items():
        if name not in found or (count and count[0] < FEWEST):
            continue
        value, size = found[name]
        slack = SLACK * (1 + 4 / count[0]) if count else SLACK
        shown[name] = {"ml": round(size, 2), "expected": [low, high]}
        is_small = size < low * (1 - min(slack, 0.9)) and not touches_side(labelmap, value)
        if is_small or size > high * (1 + slack):
            word = "small" if is_small else "large"
            doubts.append(f"{name} is unusually {word}: {size:.1f} ml, in the training cases {low:.1f} to {high:.1f}.")
    for first, second in expected.get("right_of", ()):
        if first in found and second in found:
            places = [_right_mm(labelmap, found[name][0]) for name in (first, second)]
            if places[0] < places[1]:
                doubts.append(f"{first} lies to the left of {second}: is the image flipped left-right?")
    return {"doubts": doubts, **({"volume_ml": shown} if shown else {})}


def volumes_ml(labelmap: LabelMap) -> dict[str, tuple[int, float]]:
    """Value and volume of each class that is there, by name."""
    if not labelmap.array.size:
        return {}
    voxel = labelmap.grid.voxel_ml
    counts = voxel_counts(labelmap.array)
    return {
        label.name: (label.value, float(counts[label.value] * voxel))
        for label in complete_labels(labelmap, present_only=True)
    }


def touches_side(labelmap: LabelMap, value: int) -> bool:
    """Whether some voxel of a class lies on a side of the image."""
    sides = (plane for axis in range(3) for plane in (labelmap.array.take(0, axis), labelmap.array.take(-1, axis)))
    return any(bool((side == value).any()) for side in sides)


def _right_mm(labelmap: LabelMap, value: int) -> float:
    """How far to the right the middle of a class lies, in mm from the image's left side."""
    array = canonical_array(labelmap.array, labelmap.grid)
    counts = (array == value).sum(axis=(1, 2))
    return float((counts * np.arange(len(counts))).sum() / counts.sum())
