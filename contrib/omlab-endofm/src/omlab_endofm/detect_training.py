"""The recipe of detection: a frame of a clip with one before and one after it, as Endo-FM was fine-tuned on KUMC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from omlab.errors import TrainingError
from omlab_endofm.detection_loss import Truth, detection_loss
from omlab_endofm.frame_training import FrameRecipe
from omlab_train import Optimisation
from omlab_video.clip import Clip, Frame
from omlab_video.over_time import BoxesClip

_REACH = 9  # frames to each side from which the others are drawn
_STRIDES = (8, 16, 32, 64, 128)
_MOMENTUM = 0.9
_RISE, _DROPS = 1 / 12, (2 / 3, 5 / 6, 11 / 12)  # of the steps; 8, and 64, 80 and 88 of 96 thousand upstream


@dataclass(frozen=True, kw_only=True)
class BoxedFrames:
    """(clip, boxes) -> `clip` (3, 3, H, W), the target frame first, `corners` (N, 4) and `classes` (N,) of its boxes.

    Attributes:
        fit: How a frame is made as large as the network expects.
        names: Of the classes.
    """

    kind: ClassVar[str] = BoxesClip.kind

    fit: Callable[[Frame], tuple[Tensor, float]]
    names: tuple[str, ...]

    def __call__(self, clip: Clip, target: BoxesClip, draws: np.random.Generator | None, /) -> dict[str, Tensor]:
        """A frame that has boxes, where one does. Raises `TrainingError` for boxes of other frames or classes."""
        if len(target.frames) != len(clip):
            raise TrainingError(f"{clip.name} has {len(clip)} frames, but there are boxes for {len(target.frames)}.")
        having = [number for number, boxes in enumerate(target.frames) if boxes.boxes] or [*range(len(clip))]
        at = having[len(having) // 2 if draws is None else int(draws.integers(len(having)))]
        away = (_REACH // 2, _REACH // 2) if draws is None else draws.integers(1, _REACH + 1, 2)
        shown = [at, max(0, at - int(away[0])), min(len(clip) - 1, at + int(away[1]))]
        fitted = [self.fit(frame) for frame in clip.read(shown)]
        boxes = target.frames[at].boxes
        corners = torch.tensor([[*box.near, *box.far] for box in boxes], dtype=torch.float32).view(-1, 4)
        return {
            "clip": torch.cat([pixels[0] for pixels, _ in fitted], dim=1),
            "corners": (corners + 0.5) * fitted[0][1],  # a corner of pixel 0 is at -0.5
            "classes": torch.tensor([self._class(box.label, clip, at) for box in boxes], dtype=torch.long),
        }

    def _class(self, label: str, clip: Clip, at: int) -> int:
        if label not in self.names:
            known = ", ".join(self.names)
            raise TrainingError(f"{clip.name}: frame {at} has a box of '{label}', which is none of {known}.")
        return self.names.index(label)


class ClipDetection(FrameRecipe):
    """Trains a `Detector`: SGD, a rise, then half the rate thrice."""

    @property
    def how(self) -> Optimisation:
        """SGD with momentum. Published files have filters that nothing uses."""
        return Optimisation(
            optimizer="sgd",
            momentum=_MOMENTUM,
            accumulate=self.settings["accumulate"],
            find_unused_parameters=True,
        )

    def schedule(self, step: int) -> float:
        """A straight line up to 1, then halves."""
        share = (step + 1) / max(1, self.steps)
        return float(min(1.0, share / _RISE) * 0.5 ** sum(share > drop for drop in _DROPS))

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """Of both stages, for the boxes of the target frame."""
        truth = Truth(corners=batch["corners"], classes=batch["classes"])
        parts = detection_loss(self.module(batch["clip"][None]), truth, strides=_STRIDES)
        return torch.stack([*parts.values()]).sum(), {name: float(part.detach()) for name, part in parts.items()}
