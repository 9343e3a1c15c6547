"""The recipe of segmentation: parts of clips, as Endo-FM was fine-tuned on CVC-ClinicDB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode  # type: ignore[import-untyped]
from torchvision.transforms.functional import rotate  # type: ignore[import-untyped]

from omlab.errors import TrainingError
from omlab_endofm.frame_training import FrameRecipe, window
from omlab_endofm.pictures import PRESETS, as_tensor
from omlab_endofm.segmentation import segmentation_loss
from omlab_train import Optimisation, schedules
from omlab_video.clip import Clip
from omlab_video.over_time import LabelMapClip

_LARGER = 256 / 224  # the side that frames are resized to before a square is cut out
_DEGREES = 5.0


@dataclass(frozen=True, kw_only=True)
class MaskedFrames:
    """(clip, masks) -> `frames` (T, 3, S, S) and `classes` (T, S, S).

    Drawn: each frame turned a little, another square of it, mirrored or not, as it was published.

    Attributes:
        size: Pixels of a side.
        frames: Side by side that are seen together.
        values: Label values of the outputs 1, 2, ...
    """

    kind: ClassVar[str] = LabelMapClip.kind

    size: int
    frames: int
    values: tuple[int, ...]

    def __call__(self, clip: Clip, target: LabelMapClip, draws: np.random.Generator | None, /) -> dict[str, Tensor]:
        """Raises `TrainingError` where masks are not on their frames, or have another class."""
        if not target.same_grid(clip):
            raise TrainingError(f"{clip.name}: masks {[*target.shape]} are not on its frames {[*clip.shape]}.")
        shown = window(len(clip), frames=self.frames, draws=draws)
        pixels = PRESETS["segmentation"](as_tensor(clip.read(shown))).transpose(0, 1)
        classes = torch.from_numpy(self._numbers(target.array[shown.start : shown.stop], clip))
        side = self.size if draws is None else round(_LARGER * self.size)
        pixels = functional.interpolate(pixels, size=(side, side), mode="bilinear")
        classes = functional.interpolate(classes[:, None], size=(side, side), mode="nearest")
        if draws is not None:
            drawn = [self._drawn(*pair, draws) for pair in zip(pixels, classes, strict=True)]
            pixels, classes = (torch.stack(part) for part in zip(*drawn, strict=True))
        return {"frames": pixels, "classes": classes[:, 0].long()}

    def _drawn(self, frame: Tensor, classes: Tensor, draws: np.random.Generator) -> tuple[Tensor, Tensor]:
        angle = float(draws.uniform(-_DEGREES, _DEGREES))
        top, left = (int(draws.integers(side - self.size + 1)) for side in frame.shape[1:])
        mirrored = draws.random() < 0.5
        darkest = [float(frame.min())] * 3
        turned = (
            rotate(frame, angle, InterpolationMode.BILINEAR, fill=darkest),
            rotate(classes, angle, InterpolationMode.NEAREST),
        )
        cut = (part[:, top : top + self.size, left : left + self.size] for part in turned)
        frame, classes = (part.flip(2) if mirrored else part for part in cut)
        return frame, classes

    def _numbers(self, masks: NDArray[np.uint8], clip: Clip) -> NDArray[np.uint8]:
        table = np.full(256, 255, np.uint8)
        table[[0, *self.values]] = range(len(self.values) + 1)
        numbers = table[masks]
        if len(self.values) < 255 and (numbers == 255).any():
            stray = int(masks[numbers == 255][0])
            raise TrainingError(f"{clip.name}: a mask has the label {stray}, which is none of {[*self.values]}.")
        return numbers


class ClipSegmentation(FrameRecipe):
    """Trains a `Segmenter`: AdamW, cross-entropy and Dice by halves, a rate that falls as in nnU-Net."""

    @property
    def how(self) -> Optimisation:
        """AdamW."""
        return Optimisation(accumulate=self.settings["accumulate"])

    def schedule(self, step: int) -> float:
        """(1 - step / steps)^0.9."""
        return schedules.poly(step, steps=self.steps)

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """Of all frames together."""
        entropy, dice = segmentation_loss(self.module(batch["frames"]).float(), batch["classes"])
        return 0.5 * (entropy + dice), {"dice_loss": float(dice.detach())}
