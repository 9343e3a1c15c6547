"""The gate of the kind `image`: what is doubtful about a picture before a network sees it.

A card's `[model.does.VERB.expects.image]`, every entry of which may be left out:

    side = [a, b]                  # pixels, least and most of the shorter side
    grey = true                    # whether the training images were grey; false: all had colours

Looked at of every picture: whether it shows anything, whether it is a mask, overexposed, or uses next to nothing of the
range that its type has (a radiograph of 12 bits in 16), and how long it is, since networks see squares. Of large ones
every few pixels are looked at. Trained models expect what was surveyed (`omlab_image.survey`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from omlab_image.image import Image

FEW_LEVELS = 8
"""Different values that a mask has at most."""
OVEREXPOSED = 0.3
"""Share of white pixels."""
FLAT = 0.06
"""Of the range from black to white, between the 1st and the 99th percentile."""
LONG = 3.0
"""Longer side over the shorter one."""
_SIDE = 512
"""Pixels along the longer side that are looked at, about."""


def check(image: Image, expected: Mapping[str, Any]) -> dict[str, Any]:
    """`doubts` about an image, each a sentence that names it, and the values that they rest on (JSON)."""
    found = look(image, expected)
    name = image.name or "The image"
    return {**found, "doubts": [f"{name}: {doubt}" for doubt in found["doubts"]]}


def look(image: Image, expected: Mapping[str, Any]) -> dict[str, Any]:
    """As `check`, with sentences that do not name the image."""
    if not image.is_finite():
        return {"doubts": []}  # refused where it is prepared
    step = max(1, max(image.shape) // _SIDE)
    seen = image.with_array(image.array[::step, ::step])
    pixels = seen.unit()
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    low, high = (float(level) for level in np.percentile(grey, [1, 99]))
    levels = len(np.unique(grey))
    white = float((grey >= 1).mean())
    found = {"low": round(low, 4), "high": round(high, 4), "levels": levels, "white": round(white, 4)}
    doubts = _about_values(levels, white=white, width=high - low) + _about_form(image, expected)
    if "grey" in expected and expected["grey"] == has_colours(seen):
        doubts.append(
            "It has colours; the training images were grey."
            if expected["grey"]
            else "It is grey; the training images had colours."
        )
    return {"doubts": doubts, **found}


def has_colours(image: Image) -> bool:
    """Whether some pixel is not grey."""
    return not image.is_grey and bool(np.ptp(image.array, axis=2).any())


def _about_values(levels: int, *, white: float, width: float) -> list[str]:
    if levels == 1:
        return ["It shows nothing: all pixels are alike."]
    if levels <= FEW_LEVELS:
        return [f"It has {levels} different values only: is it a mask?"]
    if white > OVEREXPOSED:
        return [f"It is overexposed: {white:.0%} of its pixels are white."]
    if width < FLAT:
        return [f"It uses {width:.1%} of its range from black to white: were fewer bits stored in a larger type?"]
    return []


def _about_form(image: Image, expected: Mapping[str, Any]) -> list[str]:
    doubts = []
    shorter, longer = sorted(image.shape)
    least, most = expected.get("side", (0, longer))
    if not least <= shorter <= most:
        doubts.append(f"It has {image.shape[0]} x {image.shape[1]} pixels; the model was made for {least} to {most}.")
    if longer > LONG * shorter:
        doubts.append(f"It is {longer / shorter:.1f} times as long as wide: in the network's square it is distorted.")
    return doubts
