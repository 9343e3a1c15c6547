"""Boxes in a picture: found ones in the colour of their class with their scores, references in white."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from omlab_payloads.colours import default_colour

_WHITE, _DARK = (255, 255, 255), (14, 16, 20)
_LINE, _FONT = 2, 12

Colour = tuple[int, int, int]


def colours_of(boxes: Sequence[Any]) -> dict[str, Colour]:
    """A colour for each label of some boxes, in alphabetical order."""
    return {label: default_colour(number) for number, label in enumerate(sorted({box.label for box in boxes}), start=1)}


def with_boxes(
    canvas: Pillow.Image,
    boxes: Sequence[Any],
    references: Sequence[Any],
    *,
    colours: Mapping[str, Colour],
    shape: tuple[int, int],
) -> Pillow.Image:
    """A picture of an image of `shape` (rows, columns) with boxes in its pixels; the surest found one is on top."""
    marked = canvas.convert("RGB")
    draw = ImageDraw.Draw(marked)
    ratio = np.array([marked.width / shape[1], marked.height / shape[0]])
    letters = ImageFont.load_default(_FONT)
    for box in references:
        _draw(draw, box, _WHITE, ratio=ratio)
    for box in sorted(boxes, key=lambda box: box.score or 0.0):
        left, top = _draw(draw, box, colours[box.label], ratio=ratio)
        if box.score is not None:
            place = (left + _LINE + 1, max(top - _FONT - 2, 0))
            draw.text(
                place, f"{box.score:.2f}", font=letters, fill=colours[box.label], stroke_width=2, stroke_fill=_DARK
            )
    return marked


def _draw(draw: ImageDraw.ImageDraw, box: Any, colour: Colour, *, ratio: Any) -> tuple[float, float]:
    """A line on a dark one; gives the corner at the left and the top."""
    near, far = ((np.array(at) + 0.5) * ratio for at in (box.near, box.far))
    corners = [*map(float, near), *map(float, np.maximum(near, far - 1))]
    draw.rectangle([corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1], outline=_DARK, width=_LINE + 2)
    draw.rectangle(corners, outline=colour, width=_LINE)
    return corners[0], corners[1]
