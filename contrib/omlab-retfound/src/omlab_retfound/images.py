"""From an image to what a network sees, as upstream does it for each form of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from omlab_image import Image
from omlab_image.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Evaluation,
    Standardised,
    evaluation,
    pretraining,
    standardised,
    training,
)
from omlab_retfound.vit import Form

_LARGEST_CROPPED = 224
_CROP = 0.875  # 224 of 256 pixels
_HALF = (0.5, 0.5, 0.5)


def colours(form: Form) -> dict[str, Any]:
    """The `mean` and `std` that colours are normalised by."""
    if form == "green":
        return {"mean": _HALF, "std": _HALF}
    return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


def transform(form: Form, *, size: int, normalisation: str) -> Evaluation | Standardised:
    """The transform of evaluation: `Image` -> [3, size, size].

    Green squeezes the image into a square. The others cut a square from the middle of the resized image, all of its
    shorter side beyond 224 pixels; or standardise each image by itself, as upstream's feature notebook does.
    """
    if form == "green":
        return evaluation(size, crop=1.0, aspect="ignore", interpolation="bilinear", **colours(form))
    if normalisation == "standardised":
        return standardised(size)
    return evaluation(size, crop=_CROP if size <= _LARGEST_CROPPED else 1.0, **colours(form))


Augment = Callable[[Image, int], Tensor]


@dataclass(frozen=True, kw_only=True)
class EachByItself:
    """An augmentation whose images are then standardised each by itself.

    Standardising undoes whatever colours were normalised by before: it is as if the augmented pixels were.
    """

    augment: Augment

    def __call__(self, image: Image, seed: int) -> Tensor:
        """The image as [3, S, S], changed at random by `seed`."""
        seen = self.augment(image, seed)
        mean, std = seen.mean(dim=(1, 2), keepdim=True), seen.std(dim=(1, 2), keepdim=True, correction=0)
        return (seen - mean) / std.clamp_min(1e-6)


def fine_tuning(form: Form, *, size: int, normalisation: str) -> Augment:
    """The augmentation of upstream's fine-tuning, timm's: part, mirror, RandAugment, erasing."""
    return _normalised(training(size, **colours(form)), normalisation)


def masking(form: Form, *, size: int, normalisation: str, least_area: float) -> Augment:
    """The augmentation of masked autoencoding: a part, a mirror."""
    return _normalised(pretraining(size, scale=(least_area, 1.0), **colours(form)), normalisation)


def _normalised(augment: Augment, normalisation: str) -> Augment:
    return EachByItself(augment=augment) if normalisation == "standardised" else augment
