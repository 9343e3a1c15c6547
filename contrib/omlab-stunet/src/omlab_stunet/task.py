"""What a STU-Net was trained for: the part of a model that its weights do not tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omlab_volume.inference.preprocess import Plan
from omlab_volume.labels import labels_from_json, labels_to_json
from omlab_volume.volume import Intensity, Label


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network was trained for: everything of a model but the weights, the architecture and the settings.

    `mirror_axes` are those of (z, y, x) that training mirrored, `intensities` what the images' values meant, `kept` the
    outputs of the network before that its training kept beside the new ones.
    """

    plan: Plan
    labels: tuple[Label, ...]
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    intensities: tuple[Intensity, ...] = ("hu",)
    kept: tuple[int, ...] = ()

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "plan": self.plan.to_dict(),
            "labels": json.loads(labels_to_json(self.labels)),
            "mirror_axes": list(self.mirror_axes),
            "intensities": list(self.intensities),
            "kept": list(self.kept),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Task:
        """The reverse of `to_config`."""
        return cls(
            plan=Plan.from_dict(config["plan"]),
            labels=labels_from_json(json.dumps(config["labels"]), what="The configuration"),
            mirror_axes=tuple(int(axis) for axis in config["mirror_axes"]),
            intensities=tuple(config["intensities"]),
            kept=tuple(int(output) for output in config.get("kept", ())),
        )
