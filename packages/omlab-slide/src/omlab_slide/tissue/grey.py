"""Tissue by its darkness, on luminance: after Otsu, and with what lies around it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Plane = NDArray[np.uint8]
Mask = NDArray[np.bool_]

REACH = 32.0
"""Micrometres by which tissue is dilated, as TIAToolbox has it."""


def grey(pixels: Pixels) -> Plane:
    """Luminance (h, w) of RGB pixels (h, w, 3)."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY), np.uint8)


def otsu(values: Plane) -> int:
    """The threshold after Otsu (1979): of two classes, up to and above it, the variance between is largest.

    The one value of a plane that has no other.
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    levels = np.arange(256)
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    sums = np.cumsum(counts * levels)
    has_both = (below > 0) & (above > 0)
    if not has_both.any():
        return int(values.flat[0]) if values.size else 0
    between = np.zeros(255)
    means = sums[:-1][has_both] / below[has_both], (sums[-1] - sums[:-1][has_both]) / above[has_both]
    between[has_both] = below[has_both] * above[has_both] * (means[0] - means[1]) ** 2
    return int(np.argmax(between))


def darker(pixels: Pixels, *, threshold: int | None = None) -> tuple[Mask, int]:
    """Where pixels are darker than a threshold on their luminance (after Otsu, unless it is given), and which."""
    plane = grey(pixels)
    used = otsu(plane) if threshold is None else threshold
    return plane < used, used


def side_at(mpp: float) -> int:
    """Side in pixels of the ellipse that tissue is dilated by, where a pixel has `mpp` micrometres."""
    return round(max(REACH / mpp, 1))


def grown(mask: Mask, *, side: int) -> tuple[Mask, int]:
    """A mask without specks, made larger: components of less than an ellipse's area go, the rest is dilated by it.

    Args:
        mask: (h, w).
        side: Of the ellipse, in pixels.

    Returns:
        The mask, and the pixels that a component had to have.
    """
    ellipse = np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    least = int(ellipse.sum())
    is_kept = facts[:, cv2.CC_STAT_AREA] >= least
    is_kept[0] = False
    kept = is_kept[labels].astype(np.uint8)
    return np.asarray(cv2.dilate(kept, ellipse), bool), least
