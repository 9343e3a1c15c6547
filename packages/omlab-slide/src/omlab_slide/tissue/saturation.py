"""Tissue by its colour: what is saturated is no glass."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Plane = NDArray[np.uint8]


def saturation(pixels: Pixels) -> Plane:
    """The saturation (h, w) from 0 to 255 of RGB pixels (h, w, 3): 0 where a colour is grey."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV)[..., 1], np.uint8)


def saturated(
    pixels: Pixels, *, threshold: int, median: int, closing: int, is_otsu: bool = False
) -> tuple[Plane, float]:
    """Where the saturation, smoothed, is above a threshold: 255 there, 0 elsewhere; and the threshold.

    Args:
        pixels: RGB (h, w, 3).
        threshold: From 0 to 255; what is above it counts.
        median: Side of the median filter in pixels, odd.
        closing: Side in pixels of the square that closes gaps; 0: none are closed.
        is_otsu: The threshold is found after Otsu in place of `threshold`.
    """
    smooth = cv2.medianBlur(saturation(pixels), median)
    how = cv2.THRESH_BINARY | (cv2.THRESH_OTSU if is_otsu else 0)
    used, mask = cv2.threshold(smooth, 0 if is_otsu else threshold, 255, how)
    if closing > 0:
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((closing, closing), np.uint8))
    return np.asarray(mask, np.uint8), float(used)
