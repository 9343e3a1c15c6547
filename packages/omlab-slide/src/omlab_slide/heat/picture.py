"""A heat map over the slide, small: percentiles by colour, a legend, a scale bar in mm."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from omlab_slide.heat.cells import raster
from omlab_slide.heat.colours import coloured
from omlab_slide.heat.scale_bar import with_scale_bar

if TYPE_CHECKING:
    from omlab_slide.heat.heat_map import HeatMap
    from omlab_slide.tissue.polygons import Polygon

LONGEST = 1024
"""Pixels of the longer side, where nobody asks for others."""
_ALPHA = 0.5
_CELL = 8
"""Pixels along the side of a patch in the raster that is enlarged: coarser than the picture, finer than a patch."""


def picture(heat: HeatMap, *, slide: Any = None, regions: Sequence[Polygon] = (), longest: int = LONGEST) -> bytes:
    """A PNG of a heat map over `slide` (else its thumbnail, else white), with legend and scale bar.

    `regions`: what somebody outlined, drawn as lines.
    """
    pixels = _outlined(blended(heat, background(heat, slide=slide, longest=longest)), regions, heat.dimensions)
    mpp = None if heat.mpp is None else heat.mpp * heat.dimensions[0] / pixels.shape[1]
    return encoded(_with_legend(with_scale_bar(pixels, mpp), heat.name))


def _outlined(pixels: NDArray[np.uint8], regions: Sequence[Polygon], dimensions: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture of a slide of `dimensions` with black lines around regions, white beside them."""
    if not regions:
        return pixels
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    factors = np.array([pixels.shape[1] / dimensions[0], pixels.shape[0] / dimensions[1]])
    lines = [line * factors for region in regions for line in (region.outer, *region.holes)]
    for colour, width in (("white", 5), ("black", 2)):
        for line in lines:
            draw.line([*map(tuple, line.tolist()), tuple(line[0].tolist())], fill=colour, width=width)
    return np.asarray(canvas)


def background(heat: HeatMap, *, slide: Any = None, longest: int = LONGEST) -> NDArray[np.uint8]:
    """The slide whole (h, w, 3), the longer side of `longest` pixels at most; of a thumbnail as it is, white else."""
    if slide is not None:
        found: NDArray[np.uint8] = slide.overview(longest)
        return found
    if heat.thumbnail is not None:
        return heat.thumbnail
    width, height = fitted(heat.dimensions, longest)
    return np.full((height, width, 3), 255, np.uint8)


def blended(heat: HeatMap, below: NDArray[np.uint8], *, alpha: float = _ALPHA) -> NDArray[np.uint8]:
    """A picture of the slide (h, w, 3) with the percentiles over it where patches lie."""
    values = percentile_map(heat, (below.shape[1], below.shape[0]))
    is_covered = ~np.isnan(values)
    mixed = below.astype(np.float32)
    mixed[is_covered] += alpha * (coloured(values[is_covered]) - mixed[is_covered])
    return np.rint(mixed).astype(np.uint8)


def percentile_map(heat: HeatMap, size: tuple[int, int]) -> NDArray[np.float32]:
    """Mean percentiles (h, w) over a picture of the slide of `size` (width, height); NaN where no patch lies.

    They are gathered on a raster of some pixels a patch and enlarged between its middles (bilinear), so that memory is
    that of the picture, however large the slide is.
    """
    factor = max(heat.size0 / _CELL, max(heat.dimensions) / max(size))
    width, height = (-(-side // max(1, int(factor))) for side in heat.dimensions)
    factors = (heat.dimensions[0] / width, heat.dimensions[1] / height)
    found = raster(heat.percentiles, heat.coords, size0=heat.size0, downsample=factors, canvas=(width, height))
    known = Image.fromarray(np.nan_to_num(found.mean).astype(np.float32))
    weight = Image.fromarray(found.covered.astype(np.float32))
    sums, weights = (np.asarray(part.resize(size, Image.Resampling.BILINEAR)) for part in (known, weight))
    covered = np.asarray(Image.fromarray(found.covered).resize(size, Image.Resampling.NEAREST))
    values = np.full((size[1], size[0]), np.nan, np.float32)
    np.divide(sums, weights, out=values, where=covered & (weights > 0))
    return values


def fitted(dimensions: tuple[int, int], longest: int) -> tuple[int, int]:
    """Width and height in true proportions whose longer side is `longest` at most."""
    factor = min(1.0, longest / max(dimensions))
    return max(1, round(dimensions[0] * factor)), max(1, round(dimensions[1] * factor))


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of (h, w, 3)."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _with_legend(pixels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The picture above a strip that says what the colours mean."""
    width = pixels.shape[1]
    size = max(9, min(26, width // 38))
    letters = ImageFont.load_default(size=size)
    strip = Image.new("RGB", (width, 2 * size + 8), "white")
    draw = ImageDraw.Draw(strip)
    ramp = coloured(np.linspace(0, 100, max(1, width // 3)))[None].repeat(size, axis=0)
    before = f"{name}, percentile: 0"
    place = 10 + round(draw.textlength(before, font=letters))
    draw.text((4, size // 2), before, fill="black", font=letters)
    strip.paste(Image.fromarray(ramp), (place, size // 2 + 2))
    draw.text((place + ramp.shape[1] + 6, size // 2), "100", fill="black", font=letters)
    return np.concatenate([pixels, np.asarray(strip)])
