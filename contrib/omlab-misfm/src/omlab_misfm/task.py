"""What a network was trained for: the part of a model that its weights do not tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omlab_misfm.fusion import CLASSES
from omlab_misfm.levels import Triple
from omlab_volume.inference.preprocess import Plan
from omlab_volume.labels import default_colour, labels_from_json, labels_to_json
from omlab_volume.volume import Label

FUSED = tuple(
    Label(value=n, name=f"mixed in by {n}/{CLASSES - 1}", colour=default_colour(n)) for n in range(1, CLASSES)
)
"""The classes of Volume Fusion."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network was trained for.

    `mirror_axes` are those of (z, y, x) that training flipped; `fusion`, whether it was Volume Fusion.
    """

    plan: Plan
    labels: tuple[Label, ...]
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    fusion: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "plan": self.plan.to_dict(),
            "labels": json.loads(labels_to_json(self.labels)),
            "mirror_axes": list(self.mirror_axes),
            "fusion": self.fusion,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Task:
        """The reverse of `to_json`."""
        return cls(
            plan=Plan.from_dict(values["plan"]),
            labels=labels_from_json(json.dumps(values["labels"]), what="The configuration"),
            mirror_axes=tuple(int(axis) for axis in values["mirror_axes"]),
            fusion=bool(values["fusion"]),
        )


def pretraining(patch: Triple) -> Task:
    """Volume Fusion on windows of `patch`."""
    return Task(plan=own_plan(patch), labels=FUSED, fusion=True)


def own_plan(patch: Triple) -> Plan:
    """Images at their own spacing, each by its own mean and deviation, in windows of `patch`."""
    return Plan(spacing=None, patch_size=patch, normalisation="zscore")
