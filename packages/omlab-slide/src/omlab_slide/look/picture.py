"""A slide small, with its tissue's outline, the patches that would be taken, and a scale bar."""

from __future__ import annotations

import math
from collections.abc import Iterable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from omlab_slide.grid import Patches
from omlab_slide.slide import Slide
from omlab_slide.tissue.find import Tissue
from omlab_slide.tissue.polygons import Polygon

CANVAS = (560, 420)
"""Width and height of a picture in pixels: those of all slides, so that a sheet of them is even."""
OUTLINE, PATCH = (0, 110, 60), (30, 90, 220)
"""Colours: of the tissue's line, and of patches."""
_TINT = 0.15
_LEAST_CELL = 5
"""Pixels that a patch must have along a side for its frame to be drawn."""


def sheet_picture(slide: Slide, *, tissue: Tissue, patches: Patches) -> bytes:
    """A JPEG of `CANVAS` pixels. The slide's mpp is known."""
    overview = slide.overview(min(CANVAS))
    width, height = slide.dimensions
    scale = min(CANVAS[0] / width, CANVAS[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(overview).resize(size, Image.Resampling.LANCZOS)
    small = Image.fromarray(_tinted(np.asarray(small), patches, scale=scale))
    draw = ImageDraw.Draw(small)
    _draw_frames(draw, patches, scale=scale)
    _draw_lines(draw, tissue.polygons, scale=scale)
    canvas = Image.new("RGB", CANVAS, (255, 255, 255))
    canvas.paste(small, ((CANVAS[0] - size[0]) // 2, (CANVAS[1] - size[1]) // 2))
    draw_scale_bar(canvas, mpp=slide.scale / scale)
    stream = BytesIO()
    canvas.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _tinted(pixels: NDArray[np.uint8], patches: Patches, *, scale: float) -> NDArray[np.uint8]:
    """The pixels with a tint over what patches cover, once however many overlap there."""
    is_covered = np.zeros(pixels.shape[:2], bool)
    for x, y in (patches.coords * scale).tolist():
        side = patches.size0 * scale
        is_covered[round(y) : max(round(y + side), round(y) + 1), round(x) : max(round(x + side), round(x) + 1)] = True
    tinted = pixels.astype(np.float32)
    tinted[is_covered] = tinted[is_covered] * (1 - _TINT) + np.array(PATCH, np.float32) * _TINT
    return np.rint(tinted).astype(np.uint8)


def _draw_frames(draw: ImageDraw.ImageDraw, patches: Patches, *, scale: float) -> None:
    side = patches.size0 * scale
    if side < _LEAST_CELL:
        return
    for x, y in (patches.coords * scale).tolist():
        draw.rectangle((x, y, x + side, y + side), outline=PATCH)


def _draw_lines(draw: ImageDraw.ImageDraw, polygons: Iterable[Polygon], *, scale: float) -> None:
    for polygon in polygons:
        for line in (polygon.outer, *polygon.holes):
            corners = [(float(x), float(y)) for x, y in line * scale]
            draw.line([*corners, corners[0]], fill=OUTLINE, width=2)


def draw_scale_bar(canvas: Image.Image, *, mpp: float) -> None:
    """Draw a bar of a round length, about a fifth of the picture's width, into its lower left corner.

    Args:
        canvas: RGB, drawn into.
        mpp: Micrometres that one of its pixels stands for.
    """
    length = round_length(canvas.width * mpp / 5)
    pixels, text = round(length / mpp), length_in_words(length)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(22)
    left, bottom = 10, canvas.height - 10
    width = max(pixels, round(draw.textlength(text, font=font)))
    draw.rectangle((left - 6, bottom - 38, left + width + 6, bottom + 6), fill=(255, 255, 255))
    draw.rectangle((left, bottom - 6, left + pixels, bottom), fill=(0, 0, 0))
    draw.text((left, bottom - 36), text, fill=(0, 0, 0), font=font)


def round_length(micrometres: float) -> float:
    """The largest of 1, 2, 5, 10, ... micrometres that is not more."""
    power = 10.0 ** math.floor(math.log10(micrometres))
    return max(step * power for step in (1, 2, 5) if step * power <= micrometres * (1 + 1e-9))


def length_in_words(micrometres: float) -> str:
    """Such as `2 mm`, `0.5 mm` or `50 µm`."""
    return f"{micrometres / 1000:g} mm" if micrometres >= 100 else f"{micrometres:g} \N{MICRO SIGN}m"
