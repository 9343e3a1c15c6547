"""From a patch to what the network sees, as upstream does it for training and, by mistake or not, for testing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow
from torch import Tensor
from torchvision.transforms import InterpolationMode, functional  # type: ignore[import-untyped]

from omlab.errors import InputError
from omlab_image import Image
from omlab_image.transforms import IMAGENET_MEAN, IMAGENET_STD, Colour, Evaluation, evaluation

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
PUBLISHED_SATURATION = (0.0, 0.2)
"""Upstream gives a range where a strength was meant: images become nearly grey."""
SATURATION = (0.8, 1.2)
_BRIGHTNESS = (0.8, 1.2)
_HUE = (-0.1, 0.1)


def colours(name: str) -> tuple[Colour, Colour]:
    """Mean and deviation: `imagenet`, as published, or those that CLIP was trained with."""
    return (CLIP_MEAN, CLIP_STD) if name == "clip" else (IMAGENET_MEAN, IMAGENET_STD)


def plain(size: int, *, normalisation: str) -> Evaluation:
    """The image resized to a square, whatever its ratio, and normalised."""
    mean, std = colours(normalisation)
    return evaluation(size, crop=1.0, aspect="ignore", interpolation="bilinear", mean=mean, std=std)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Resized to a square; brightness, saturation, hue by chance and in any order, mirrored, turned by right angles.

    (`Image`, seed) -> [3, size, size], a pure function of both.

    Attributes:
        size: Pixels of a side.
        saturation: What the factor on the saturation lies between; 0 is grey.
        mean: Taken off each colour.
        std: Each colour is divided by it.
    """

    size: int
    saturation: tuple[float, float] = SATURATION
    mean: Colour = IMAGENET_MEAN
    std: Colour = IMAGENET_STD

    def __call__(self, image: Image, seed: int) -> Tensor:
        """The image as [3, size, size]. Raises `InputError` where a pixel is no number."""
        if not image.is_finite():
            raise InputError(f"{image.name or 'An image'} has pixels that are NaN or infinite: replace them.")
        draw = np.random.default_rng(seed % 2**64)
        picture = functional.resize(
            Pillow.fromarray(image.rgb()), [self.size, self.size], InterpolationMode.BILINEAR, antialias=True
        )
        changes: list[tuple[Callable[[Any, float], Any], float]] = [
            (functional.adjust_brightness, draw.uniform(*_BRIGHTNESS)),
            (functional.adjust_saturation, draw.uniform(*self.saturation)),
            (functional.adjust_hue, draw.uniform(*_HUE)),
        ]
        for place in draw.permutation(len(changes)):
            change, factor = changes[place]
            picture = change(picture, float(factor))
        picture = functional.hflip(picture) if draw.random() < 0.5 else picture
        picture = functional.vflip(picture) if draw.random() < 0.5 else picture
        turned = np.rot90(np.asarray(picture), k=int(draw.integers(4))).copy()
        tensor: Tensor = functional.normalize(functional.to_tensor(turned), list(self.mean), list(self.std))
        return tensor
