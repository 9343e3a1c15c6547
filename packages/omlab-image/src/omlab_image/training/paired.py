"""Images and their label maps, changed alike: through torchvision's transforms of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors  # type: ignore[import-untyped]
from torchvision.transforms import InterpolationMode, v2  # type: ignore[import-untyped]

from omlab.errors import SettingsError
from omlab_image.image import Image
from omlab_image.randomness import seeded
from omlab_image.transforms import IMAGENET_MEAN, IMAGENET_STD, Colour


@dataclass(frozen=True, kw_only=True)
class Paired:
    """An image and its labels, resized to a square: (`Image`, labels) -> ([3, size, size], [size, size]).

    With a seed they are changed at random, both alike: a part of the area, mirrored, turned, the image alone brighter
    or of more contrast. Labels are taken from the nearest pixel.

    Attributes:
        size: Pixels of each side.
        scale: Share of the area that is cut out at random.
        ratio: Of the sides of what is cut out.
        flip: Probability of mirroring.
        vertical_flip: Probability of turning upside down.
        quarter_turns: Whether to turn by 0, 90, 180 or 270 degrees.
        brightness: The image's brightness and contrast are multiplied by 1 - this to 1 + this.
        mean: Taken off each colour (0 to 1).
        std: Each colour is divided by it.

    Raises `SettingsError` for a value that cannot be.
    """

    size: int = 512
    scale: tuple[float, float] = (0.5, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    vertical_flip: float = 0.0
    quarter_turns: bool = False
    brightness: float = 0.2
    mean: Colour = IMAGENET_MEAN
    std: Colour = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 < self.scale[0] <= self.scale[1] <= 1 or not 0 <= self.brightness < 1:
            raise SettingsError(
                f"size is {self.size}, scale {self.scale} and brightness {self.brightness}: size must be at least 1, "
                "scale two shares of the area, brightness at least 0 and below 1."
            )

    def __call__(self, image: Image, labels: NDArray[Any], seed: int | None = None) -> tuple[Tensor, Tensor]:
        """The image (float32) and the labels (int64); without a seed resized and nothing else."""
        pixels = tv_tensors.Image(torch.from_numpy(np.atleast_3d(image.unit())).permute(2, 0, 1))
        mask = tv_tensors.Mask(torch.from_numpy(np.ascontiguousarray(labels)).long())
        size = [self.size, self.size]
        if seed is None:
            found = v2.Resize(size, InterpolationMode.BILINEAR, antialias=True)(pixels, mask)
        else:
            with seeded(seed):
                found = self._drawn(size)(pixels, mask)
                if self.quarter_turns:
                    turns = int(torch.randint(4, ()))
                    found = tuple(torch.rot90(one, turns, (-2, -1)) for one in found)
        tensor = found[0].as_subclass(Tensor).clamp(0, 1).expand(3, -1, -1)
        return v2.functional.normalize(tensor, list(self.mean), list(self.std)), found[1].as_subclass(Tensor)

    def _drawn(self, size: list[int]) -> Any:
        parts = [
            v2.RandomResizedCrop(size, self.scale, self.ratio, InterpolationMode.BILINEAR, antialias=True),
            v2.RandomHorizontalFlip(self.flip),
            v2.RandomVerticalFlip(self.vertical_flip),
        ]
        if self.brightness:
            parts.append(v2.ColorJitter(brightness=self.brightness, contrast=self.brightness))
        return v2.Compose(parts)
