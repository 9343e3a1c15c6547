"""The patches with the highest and the lowest scores, as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from omlab.errors import OutputError
from omlab.payloads import Inputs, Payload, an, describe
from omlab_slide.heat.heat_map import HeatMap
from omlab_slide.heat.picture import encoded
from omlab_slide.heat.scale_bar import with_scale_bar

_SIDE = 192
_COUNT = 8
_GAP = 6


@dataclass(frozen=True, eq=False, kw_only=True)
class Shown:
    """A patch that is shown: its pixels (side, side, 3) with a scale bar, its score, and its place in level 0."""

    pixels: NDArray[np.uint8]
    score: float
    percentile: float
    place: tuple[int, int]


def top_and_bottom(
    heat: HeatMap, slide: Any, *, count: int = _COUNT, side: int = _SIDE
) -> tuple[list[Shown], list[Shown]]:
    """The patches with the highest scores, the highest first, and with the lowest, the lowest first.

    Args:
        heat: The scores.
        slide: What it is of.
        count: How many of each, at most.
        side: Pixels of a side.
    """
    high, low = heat.extremes(count)
    return [_shown(heat, slide, int(n), side) for n in high], [_shown(heat, slide, int(n), side) for n in low]


def _shown(heat: HeatMap, slide: Any, number: int, side: int) -> Shown:
    x, y = (int(value) for value in heat.coords[number])
    factor = heat.size0 / side
    pixels = slide.read_scaled((x, y), downsample=factor, size=(side, side))
    return Shown(
        pixels=with_scale_bar(pixels, None if heat.mpp is None else heat.mpp * factor),
        score=float(heat.scores[number]),
        percentile=float(heat.percentiles[number]),
        place=(x, y),
    )


class HeatPatches:
    """The format `heat-patches`: a PNG of the patches with the highest and the lowest scores."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write it. Raises `OutputError` for another kind, and where the slide is not among `inputs`."""
        if not isinstance(payload, HeatMap):
            raise OutputError(f"{path}: patches are those of a heat map, not of {an(describe(payload))}.")
        slides = (getattr(one, "slide", one) for one in inputs.values())  # one in the place of its bag, too
        slide = next((one for one in slides if one.kind == "slide"), None)
        if slide is None:
            raise OutputError(f"{path}: patches are read from the slide, which was not given.")
        high, low = top_and_bottom(payload, slide)
        path.write_bytes(encoded(sheet({"highest": high, "lowest": low})))


class HeatPicture:
    """The format `heat-picture`: a PNG of the heat map over its slide."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write it. Raises `OutputError` for another kind."""
        if not isinstance(payload, HeatMap):
            raise OutputError(f"{path}: a picture of heat is that of a heat map, not of {an(describe(payload))}.")
        path.write_bytes(payload.overlay(inputs))


def sheet(rows: dict[str, list[Shown]]) -> NDArray[np.uint8]:
    """Rows of patches under each other, each under its title, each patch over its score."""
    letters = ImageFont.load_default(size=14)
    side = max(one.pixels.shape[0] for row in rows.values() for one in row)
    across, height = max(len(row) for row in rows.values()), side + 48
    canvas = Image.new("RGB", (across * (side + _GAP) + _GAP, len(rows) * height), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (title, row) in enumerate(rows.items()):
        top = number * height
        draw.text((_GAP, top + 4), title, fill="black", font=letters)
        for column, one in enumerate(row):
            left = _GAP + column * (side + _GAP)
            canvas.paste(Image.fromarray(one.pixels), (left, top + 24))
            draw.text((left, top + 26 + side), f"{one.score:.4g}", fill="black", font=letters)
    return np.asarray(canvas)
