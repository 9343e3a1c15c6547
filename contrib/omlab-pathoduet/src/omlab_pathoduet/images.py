"""From an image to what a network sees: colours from 0 to 1 as they are, never normalised."""

from __future__ import annotations

from typing import Any, Literal

from omlab.errors import InputError
from omlab_image import Image
from omlab_image.transforms import Evaluation, Training, evaluation
from omlab_image.transforms import training as augmentation

View = Literal["centre", "whole"]
RAW: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
_CROP = 0.875  # 224 of 256 pixels


def transform(size: int, *, view: View) -> Evaluation:
    """The transform of evaluation: `Image` -> [3, size, size], values from 0 to 1.

    `centre`, as upstream's evaluation: the shorter side to 8/7 of `size` (256 px), the middle of it. `whole`: all of it
    in a square of `size`.
    """
    if view == "centre":
        return evaluation(size, crop=_CROP, interpolation="bilinear", **RAW)
    return evaluation(size, crop=1.0, aspect="ignore", interpolation="bilinear", **RAW)


def fine_tuning(size: int, *, least_area: float) -> Training:
    """The augmentation of fine-tuning, (`Image`, seed) -> [3, size, size]: a part, mirrored, upside down."""
    return augmentation(
        size,
        scale=(least_area, 1.0),
        vertical_flip=0.5,
        auto_augment="",
        erasing=0.0,
        interpolation="bilinear",
        **RAW,
    )


def as_it_is(image: Image) -> Image:
    """The image, if its colours are such. Raises `InputError` for numbers that are none, or were normalised."""
    name = image.name or "The image"
    if not image.is_finite():
        raise InputError(f"{name} has pixels that are NaN or infinite: mend or leave it out.")
    if image.array.dtype.kind == "f" and (image.array.min() < 0 or image.array.max() > 1):
        raise InputError(
            f"{name} has values from {image.array.min():.3g} to {image.array.max():.3g}: PathoDuet takes colours from "
            "0 to 1 as they are, without any normalisation (of ImageNet or another); give the picture itself."
        )
    return image
