"""Colours of classes in pictures and in files that carry some."""

from __future__ import annotations

import colorsys

_GOLDEN_ANGLE = 0.618033988749895  # of a turn: successive hues never come close for long


def default_colour(value: int) -> tuple[int, int, int]:
    """A colour (R, G, B) for a label value from 1 on: always the same one, and unlike its neighbours'."""
    hue = (0.99 + (value - 1) * _GOLDEN_ANGLE) % 1.0
    saturation = (1.0, 0.85, 0.6)[value % 3]
    brightness = (1.0, 0.85)[(value // 3) % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)
