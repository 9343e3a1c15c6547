"""A scale bar in mm or um on a picture of a slide."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_SHARE = 0.25
"""Of the picture's width that a bar takes at most."""


def bar_length(width: int, mpp: float) -> float:
    """Micrometres of the longest bar of 1, 2 or 5 times a power of ten that fits a picture of so many pixels."""
    most = _SHARE * width * mpp
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most)


def label(micrometres: float) -> str:
    """As a reader reads it: from 1000 um on in mm."""
    return f"{micrometres / 1000:g} mm" if micrometres >= 1000 else f"{micrometres:g} um"


def with_scale_bar(pixels: NDArray[np.uint8], mpp: float | None) -> NDArray[np.uint8]:
    """A copy of a picture (h, w, 3) of `mpp` micrometres a pixel with a bar in its lower left corner; None: as it is."""
    if mpp is None:
        return pixels
    height, width = pixels.shape[:2]
    length = bar_length(width, mpp)
    size = max(9, min(24, width // 40))
    letters = ImageFont.load_default(size=size)
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    side, pad = max(1, round(length / mpp)), max(3, size // 3)
    text = label(length)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=letters)
    x, y = 2 * pad, height - 2 * pad
    wide = max(side, right - left)
    thick = max(2, size // 5)
    draw.rectangle((x - pad, y - thick - (bottom - top) - 3 * pad, x + wide + pad, y + pad), fill="white")
    draw.rectangle((x, y - thick, x + side, y), fill="black")
    draw.text((x - left, y - thick - pad - bottom), text, fill="black", font=letters)
    return np.asarray(canvas)
