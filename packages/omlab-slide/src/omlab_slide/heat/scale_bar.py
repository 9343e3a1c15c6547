"""A scale bar, in letters that fit, on pictures from patches to whole slides."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_SHARE = 0.25
"""Of the picture's width that a bar takes at most."""


def with_scale_bar(pixels: NDArray[np.uint8], mpp: float | None, *, letters: int = 0) -> NDArray[np.uint8]:
    """A copy of a picture (h, w, 3) of `mpp` micrometres a pixel with a bar, lower left; None: as it is.

    `letters`: their size in pixels; 0: such that they can be read where it is shown a third as wide.
    """
    if mpp is None:
        return pixels
    height, width = pixels.shape[:2]
    length = round_length(_SHARE * width * mpp)
    size = letters or max(13, min(32, width // 32))
    font = ImageFont.load_default(size=size)
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    side, pad = max(1, round(length / mpp)), max(3, size // 3)
    text = length_in_words(length)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    x, y = 2 * pad, height - 2 * pad
    wide = max(side, right - left)
    thick = max(2, size // 5)
    draw.rectangle((x - pad, y - thick - (bottom - top) - 3 * pad, x + wide + pad, y + pad), fill="white")
    draw.rectangle((x, y - thick, x + side, y), fill="black")
    draw.text((x - left, y - thick - pad - bottom), text, fill="black", font=font)
    return np.asarray(canvas)


def round_length(micrometres: float) -> float:
    """The largest of 1, 2, 5, 10, ... micrometres that is not more."""
    power = 10.0 ** math.floor(math.log10(micrometres))
    return max(step * power for step in (1, 2, 5) if step * power <= micrometres * (1 + 1e-9))


def length_in_words(micrometres: float) -> str:
    """Such as `2 mm`, `0.5 mm` or `50 um`: Pillow's own letters have no micro sign."""
    return f"{micrometres / 1000:g} mm" if micrometres >= 100 else f"{micrometres:g} um"
