"""A scale bar, in letters that fit, on pictures from patches to whole slides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from omlab_slide.look.picture import length_in_words, round_length

_SHARE = 0.25
"""Of the picture's width that a bar takes at most."""


def with_scale_bar(pixels: NDArray[np.uint8], mpp: float | None) -> NDArray[np.uint8]:
    """A copy of a picture (h, w, 3) of `mpp` micrometres a pixel with a bar, lower left; None: as it is."""
    if mpp is None:
        return pixels
    height, width = pixels.shape[:2]
    length = round_length(_SHARE * width * mpp)
    size = max(9, min(24, width // 40))
    letters = ImageFont.load_default(size=size)
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    side, pad = max(1, round(length / mpp)), max(3, size // 3)
    text = length_in_words(length)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=letters)
    x, y = 2 * pad, height - 2 * pad
    wide = max(side, right - left)
    thick = max(2, size // 5)
    draw.rectangle((x - pad, y - thick - (bottom - top) - 3 * pad, x + wide + pad, y + pad), fill="white")
    draw.rectangle((x, y - thick, x + side, y), fill="black")
    draw.text((x - left, y - thick - pad - bottom), text, fill="black", font=letters)
    return np.asarray(canvas)
