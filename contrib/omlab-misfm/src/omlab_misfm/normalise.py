"""PyMIC's normalisations of an image (C, Z, Y, X), channel by channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def z_normalised(image: Image) -> Image:
    """(v - mean) / (deviation + 1e-5)."""
    axes = (1, 2, 3)
    mean, deviation = image.mean(axes, keepdims=True), image.std(axes, keepdims=True)
    result: Image = (image - mean) / (deviation + np.float32(1e-5))
    return result


def scaled(image: Image, *, low: float, high: float) -> Image:
    """Cut to `low`..`high` and mapped to -1..1."""
    return (2 * (np.clip(image, low, high) - low) / (high - low) - 1).astype(np.float32)
