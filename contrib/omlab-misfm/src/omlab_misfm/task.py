"""What a network was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from omlab_misfm.fusion import CLASSES
from omlab_misfm.levels import Triple
from omlab_volume.inference import task
from omlab_volume.inference.preprocess import Plan
from omlab_volume.labels import default_colour
from omlab_volume.volume import Label

FUSED = tuple(
    Label(value=n, name=f"mixed in by {n}/{CLASSES - 1}", colour=default_colour(n)) for n in range(1, CLASSES)
)
"""The classes of Volume Fusion."""


@dataclass(frozen=True, kw_only=True)
class Task(task.Task):
    """A segmentation task, or Volume Fusion (`fusion`)."""

    fusion: bool = False

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return {**super().to_config(), "fusion": self.fusion}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The reverse of `to_config`."""
        return replace(super().from_config(config), fusion=bool(config["fusion"]))


def pretraining(patch: Triple) -> Task:
    """Volume Fusion on windows of `patch`."""
    return Task(plan=own_plan(patch), labels=FUSED, fusion=True)


def own_plan(patch: Triple) -> Plan:
    """Images at their own spacing, each by its own mean and deviation, in windows of `patch`."""
    return Plan(spacing=None, patch_size=patch, normalisation="zscore")
