"""What a STU-Net was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from omlab_volume.inference import task
from omlab_volume.volume import Intensity


@dataclass(frozen=True, kw_only=True)
class Task(task.Task):
    """A segmentation task of images of known `intensities`: what their values meant.

    `kept` are the outputs of the network before that its training kept beside the new ones.
    """

    intensities: tuple[Intensity, ...] = ("hu",)
    kept: tuple[int, ...] = ()

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return {**super().to_config(), "intensities": list(self.intensities), "kept": list(self.kept)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The reverse of `to_config`."""
        return replace(
            super().from_config(config),
            intensities=tuple(config["intensities"]),
            kept=tuple(int(output) for output in config.get("kept", ())),
        )
