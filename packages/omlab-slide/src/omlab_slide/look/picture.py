"""A slide small, with its tissue's outline, the patches that would be taken, and a scale bar."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from omlab_slide.grid import Patches
from omlab_slide.heat.scale_bar import with_scale_bar
from omlab_slide.slide import Slide
from omlab_slide.tissue.find import Tissue
from omlab_slide.tissue.polygons import Polygon

CANVAS = (560, 420)
"""Width and height of a picture in pixels: those of all slides, so that a sheet of them is even."""
OUTLINE, PATCH = (0, 110, 60), (30, 90, 220)
"""Colours: of the tissue's line, and of patches."""
_LETTERS = 36
"""Pixels: to be read where a picture is shown a third as wide, on a sheet or a small screen."""
_TINT = 0.15
_LEAST_CELL = 5
"""Pixels that a patch must have along a side for its frame to be drawn."""


def sheet_picture(slide: Slide, *, tissue: Tissue, patches: Patches, canvas: tuple[int, int] = CANVAS) -> bytes:
    """A JPEG of `canvas` pixels. The slide's mpp is known."""
    overview = slide.overview(min(canvas))
    width, height = slide.dimensions
    scale = min(canvas[0] / width, canvas[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(overview).resize(size, Image.Resampling.LANCZOS)
    small = Image.fromarray(_tinted(np.asarray(small), patches, scale=scale))
    draw = ImageDraw.Draw(small)
    _draw_frames(draw, patches, scale=scale)
    _draw_lines(draw, tissue.polygons, scale=scale)
    whole = Image.new("RGB", canvas, (255, 255, 255))
    whole.paste(small, ((canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2))
    pixels = with_scale_bar(np.asarray(whole), slide.scale / scale, letters=_LETTERS)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=88)
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
