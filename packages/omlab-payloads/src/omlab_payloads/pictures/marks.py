"""Prompts as marks: a bright disc with a plus in the object, a dark square with a minus outside it, dashed boxes.

They differ in shape, brightness and sign, so that no colour has to be told from another. Coordinates are those of a
layer that is `SCALE` times as large as the picture and is made smaller: smooth edges.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from omlab_payloads.colours import Colour
from omlab_payloads.pictures.words import FAINT

SCALE = 4

_RADIUS, _FAINT_RADIUS, _LINE = 6.5, 4.5, 1.5
_DASH, _GAP = 7, 4
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)

At = tuple[float, float]


def draw_click(draw: ImageDraw.ImageDraw, at: At, *, is_inside: bool, colour: Colour, is_faint: bool = False) -> None:
    """A click, with a ring in its object's colour; smaller and paler where it is `is_faint`."""
    x, y = at
    radius, alpha = (_FAINT_RADIUS, 120) if is_faint else (_RADIUS, 255)
    fill, sign = (_WHITE, _BLACK) if is_inside else (_BLACK, _WHITE)
    shape = draw.ellipse if is_inside else draw.rectangle
    for grown, ink in ((1.5, _BLACK), (0.5, colour), (-1.5, fill)):
        r = (radius + grown) * SCALE
        shape((x - r, y - r, x + r, y + r), fill=(*ink, alpha))
    arm = radius * SCALE / 2
    draw.line(((x - arm, y), (x + arm, y)), fill=(*sign, alpha), width=round(_LINE * SCALE))
    if is_inside:
        draw.line(((x, y - arm), (x, y + arm)), fill=(*sign, alpha), width=round(_LINE * SCALE))


def draw_dashed(draw: ImageDraw.ImageDraw, near: At, far: At, *, colour: Colour) -> None:
    """A box by two opposite corners: dashes of its object's colour on a dark line."""
    corners = [near, (far[0], near[1]), far, (near[0], far[1]), near]
    for start, end in pairwise(corners):
        a, b = np.array(start, float), np.array(end, float)
        draw.line((tuple(a), tuple(b)), fill=(0, 0, 0, 170), width=3 * SCALE)
        length = float(np.linalg.norm(b - a))
        for begin in np.arange(0, length, (_DASH + _GAP) * SCALE):
            stop = min(begin + _DASH * SCALE, length)
            dash = (tuple(a + (b - a) * begin / length), tuple(a + (b - a) * stop / length))
            draw.line(dash, fill=(*colour, 255), width=round(_LINE * SCALE))


def key_of_click(*, is_inside: bool) -> Image.Image:
    """The mark of a click for a legend, 16 x 16 pixels."""
    layer = Image.new("RGBA", (16 * SCALE, 16 * SCALE))
    draw_click(ImageDraw.Draw(layer), (8 * SCALE, 8 * SCALE), is_inside=is_inside, colour=FAINT)
    return layer.reduce(SCALE)
