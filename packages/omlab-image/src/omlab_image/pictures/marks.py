"""Prompts as marks in a picture: a bright disc with a plus in the object, a dark square with a minus outside it, boxes.

They differ in shape, brightness and sign, so that no colour has to be told from another.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from omlab_payloads.colours import default_colour

_SCALE = 4
"""Marks are drawn this much larger and made smaller: smooth edges."""
_RADIUS, _LINE = 6.5, 1.5
_DASH, _GAP = 7, 4
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)

Colour = tuple[int, int, int]


def with_marks(canvas: Pillow.Image, prompts: Sequence[Any], *, shape: tuple[int, int]) -> Pillow.Image:
    """A picture of an image of `shape` (rows, columns) with the prompts in pixels marked.

    Of payloads of kind `prompts` (those of omlab-prompts) the n-th object has the colour of label n. Prompts that are
    no pixels of such an image are left out.
    """
    layer = Pillow.new("RGBA", (canvas.width * _SCALE, canvas.height * _SCALE))
    draw = ImageDraw.Draw(layer)
    ratio = np.array([layer.width / shape[1], layer.height / shape[0]])
    for payload in prompts:
        if payload.space != "pixel":
            continue
        for number, entry in enumerate(payload.objects, start=1):
            for box in entry.boxes:
                near, far = ((np.array(at) + 0.5) * ratio for at in (box.near, box.far))
                _draw_box(draw, near, far, default_colour(number))
            for point in entry.points:
                place = (np.array(point.at) + 0.5) * ratio
                _draw_click(draw, place, is_inside=point.label == 1, colour=default_colour(number))
    marked = canvas.convert("RGBA")
    marked.alpha_composite(layer.reduce(_SCALE))
    return marked.convert("RGB")


def _draw_click(draw: ImageDraw.ImageDraw, at: Any, *, is_inside: bool, colour: Colour) -> None:
    x, y = float(at[0]), float(at[1])
    fill, sign = (_WHITE, _BLACK) if is_inside else (_BLACK, _WHITE)
    shape = draw.ellipse if is_inside else draw.rectangle
    for grown, ink in ((1.5, _BLACK), (0.5, colour), (-1.5, fill)):
        r = (_RADIUS + grown) * _SCALE
        shape((x - r, y - r, x + r, y + r), fill=(*ink, 255))
    arm = _RADIUS * _SCALE / 2
    draw.line(((x - arm, y), (x + arm, y)), fill=(*sign, 255), width=round(_LINE * _SCALE))
    if is_inside:
        draw.line(((x, y - arm), (x, y + arm)), fill=(*sign, 255), width=round(_LINE * _SCALE))


def _draw_box(draw: ImageDraw.ImageDraw, near: Any, far: Any, colour: Colour) -> None:
    """Dashes of the object's colour on a dark line."""
    corners = [near, (far[0], near[1]), far, (near[0], far[1]), near]
    for start, end in pairwise(corners):
        a, b = np.array(start, float), np.array(end, float)
        draw.line((tuple(a), tuple(b)), fill=(0, 0, 0, 170), width=3 * _SCALE)
        length = float(np.linalg.norm(b - a))
        for begin in np.arange(0, length, (_DASH + _GAP) * _SCALE):
            stop = min(begin + _DASH * _SCALE, length)
            dash = (tuple(a + (b - a) * begin / length), tuple(a + (b - a) * stop / length))
            draw.line(dash, fill=(*colour, 255), width=round(_LINE * _SCALE))
