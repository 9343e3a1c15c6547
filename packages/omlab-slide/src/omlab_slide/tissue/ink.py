"""Ink of pens on a slide, which is neither tissue nor glass."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PEN_SHARE = 0.001
"""Of a slide, beyond which it is told: less is specks of marking dye at the edges of a specimen."""


def pen_mask(pixels: Pixels) -> Mask:
    """Where RGB pixels (h, w, 3) of an overview have the ink of a pen: green or blue, or black and drawn broadly.

    No stain is green; blue counts where it is more saturated than haematoxylin. Red ink cannot be told from eosin.
    """
    hsv = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV)
    hue, saturated, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    is_green = (hue > 38) & (hue <= 95) & (saturated > 70)
    is_blue = (hue > 95) & (hue < 122) & (saturated > 150)
    is_black = (value < 70) & (saturated < 60)
    broad = cv2.morphologyEx(is_black.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)) > 0
    ink = ((is_green | is_blue) & (value > 25)) | broad
    around = np.ones((5, 5), np.uint8)
    return np.asarray(cv2.dilate(ink.astype(np.uint8), around), bool) & (broad | (saturated > 25) | ink)
