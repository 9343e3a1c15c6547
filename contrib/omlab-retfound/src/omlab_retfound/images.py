"""From an image to what a network sees, as upstream does it for each form of the model."""

from __future__ import annotations

from typing import Any

from omlab_image.transforms import IMAGENET_MEAN, IMAGENET_STD, Evaluation, Standardised, evaluation, standardised
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
