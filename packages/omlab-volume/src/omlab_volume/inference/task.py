"""What a segmentation network was trained for: the part of a model that its weights do not tell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from omlab_volume.inference.preprocess import Plan
from omlab_volume.labels import labels_from_json, labels_to_json, smallest_unsigned
from omlab_volume.volume import Label, LabelMap


@dataclass(frozen=True, kw_only=True)
class Task:
    """All of a model but the weights, the architecture and the settings; a model may add to it by a class of its own.

    Attributes:
        plan: How images are prepared.
        labels: Of the outputs 1, 2, ..., each with the value that it has in label maps.
        mirror_axes: Those of (z, y, x) that training mirrored.
    """

    plan: Plan
    labels: tuple[Label, ...]
    mirror_axes: tuple[int, ...] = (0, 1, 2)

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "plan": self.plan.to_dict(),
            "labels": json.loads(labels_to_json(self.labels)),
            "mirror_axes": list(self.mirror_axes),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The reverse of `to_config`. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
        return cls(
            plan=Plan.from_dict(config["plan"]),
            labels=labels_from_json(json.dumps(config["labels"]), what="The configuration"),
            mirror_axes=tuple(int(axis) for axis in config["mirror_axes"]),
        )


def by_output(labels: Sequence[Label]) -> list[Label]:
    """The labels under the numbers of their outputs, 1, 2, ...: what `omlab_volume.inference.segment.segment` takes."""
    return [replace(label, value=output) for output, label in enumerate(labels, start=1)]


def with_values(found: LabelMap, labels: Sequence[Label]) -> LabelMap:
    """A label map of outputs 0, 1, 2, ... with the values of `labels`, that of output 1 first."""
    values = np.array([0, *(label.value for label in labels)])
    if np.array_equal(values, np.arange(len(values))):
        return found
    array = smallest_unsigned(values, what="the label values of this model")[found.array]
    return replace(found, array=array, labels=tuple(labels))
