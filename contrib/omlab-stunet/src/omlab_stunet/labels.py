"""What the outputs of the published networks mean, and how they map to other data sets' labels.

The lists are in `labels.json`. TotalSegmentator's 104 structures stand in alphabetical order (ribs and
vertebrae sort as text: 1, 10, 11, 12, 2, ...), as in the training of STU-Net: **not** in
TotalSegmentator's own numbering. SNOMED CT codes are given where one code names the structure and side.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from omlab.errors import UsageError
from omlab_volume.labels import default_colour, labels_from_names
from omlab_volume.volume import Code, Label, LabelMap

TOTALSEGMENTATOR = "totalsegmentator"
ABDOMEN_ATLAS_MINI = "abdomen-atlas-mini"


@dataclass(frozen=True, kw_only=True)
class Region:
    """One organ of a downstream data set: the local label `values` it has there, and our `classes` for it."""

    values: tuple[int, ...]
    organ: str
    classes: tuple[str, ...]


def class_names(classes: int) -> list[str]:
    """Names of the outputs 0 (background) to `classes` - 1 of a published network of that many.

    105 outputs are TotalSegmentator's, 10 AbdomenAtlas-Mini's; any other number gets `class_1`, `class_2`, ...
    """
    for key in (TOTALSEGMENTATOR, ABDOMEN_ATLAS_MINI):
        names: list[str] = _lists()[key]
        if len(names) == classes:
            return list(names)
    return ["background", *(f"class_{index}" for index in range(1, classes))]


def labels_for(classes: int) -> tuple[Label, ...]:
    """Labels 1 to `classes` - 1 with names, colours and, where known, SNOMED CT codes."""
    codes: dict[str, list[str]] = _lists()["snomed"]
    return tuple(
        replace(label, code=Code(value=codes[label.name][0], scheme="SCT", meaning=codes[label.name][1]))
        if label.name in codes
        else label
        for label in labels_from_names(class_names(classes)[1:])
    )


def downstream_names() -> list[str]:
    """The 14 data sets that STU-Net was evaluated on without fine-tuning, as nnU-Net tasks."""
    return list(_lists()["downstream"])


def downstream(name: str) -> list[Region]:
    """How the labels of one of those data sets relate to TotalSegmentator's classes.

    Upstream has no entry for some organs of WORD, SegTHOR and BTCV-Cervix and fails there; they are
    TotalSegmentator's own names and stand for themselves here. Raises `UsageError` for an unknown name.
    """
    tables = _lists()["downstream"]
    if name not in tables:
        raise UsageError(f"There is no label mapping for '{name}'; there are {', '.join(tables)}.")
    return [
        Region(values=tuple(row["values"]), organ=row["organ"], classes=tuple(row["classes"])) for row in tables[name]
    ]


def organ_classes(organ: str) -> tuple[str, ...]:
    """Our classes of an organ by the name that a downstream data set, or upstream's table of organs, has for it.

    That table also has three chambers of the heart, which no data set uses. Raises `UsageError` for an unknown name.
    """
    lists = _lists()
    known = {row["organ"]: row["classes"] for rows in lists["downstream"].values() for row in rows} | lists["chambers"]
    if organ not in known:
        raise UsageError(f"There is no organ '{organ}'; there are {', '.join(sorted(known))}.")
    return tuple(known[organ])


def to_downstream(prediction: LabelMap, *, name: str) -> LabelMap:
    """A prediction with TotalSegmentator's classes in the labels of a downstream data set.

    An organ that has several local values (an organ and its tumour) gets the first; merge them in the
    reference before comparing. What the data set does not know becomes background.
    """
    index = {label.name: label.value for label in prediction.labels}
    regions = downstream(name)
    missing = sorted({c for region in regions for c in region.classes} - set(index))
    if missing:
        raise UsageError(
            f"The prediction has no class '{missing[0]}': it is not by a network with TotalSegmentator's classes."
        )
    highest = max(*(int(v) for v in index.values()), int(prediction.array.max(initial=0)))
    table = np.zeros(highest + 1, dtype=np.uint8)
    labels: list[Label] = []
    for region in regions:
        value = region.values[0]
        table[[index[c] for c in region.classes]] = value
        labels.append(Label(value=value, name=region.organ, colour=default_colour(value)))
    return replace(prediction, array=table[prediction.array], labels=tuple(labels))


@cache
def _lists() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("labels.json").read_text(encoding="utf-8")
    lists: dict[str, Any] = json.loads(text)
    return lists
