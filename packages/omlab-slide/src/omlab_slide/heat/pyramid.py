"""A heat map as a pyramidal TIFF that slide viewers open beside the slide, at the same place."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omlab.errors import OutputError
from omlab.payloads import Inputs, Payload, an, describe
from omlab_slide.heat.heat_map import HeatMap
from omlab_slide.heat.picture import background, blended, fitted

_LONGEST = 4096
_LEAST = 512
_TILE = (256, 256)
_REDUCED = 1
"""Of TIFF's NewSubfileType: without it OpenSlide sees the first level alone."""


class HeatPyramid:
    """The format `heat-pyramid`: writes heat maps over their slide, in colour."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write levels that halve, tiled, with their resolution. Raises `OutputError` for another kind."""
        if not isinstance(payload, HeatMap):
            raise OutputError(f"{path}: a pyramid of heat is that of a heat map, not of {an(describe(payload))}.")
        slide = next((one for one in inputs.values() if one.kind == "slide"), None)
        longest = min(_LONGEST, max(payload.dimensions))
        below = background(payload, slide=slide, longest=longest)
        if slide is None:  # a thumbnail is small: the cells are to be sharp
            below = np.asarray(Image.fromarray(below).resize(fitted(payload.dimensions, longest)))
        mpp = None if payload.mpp is None else payload.mpp * payload.dimensions[0] / below.shape[1]
        write_pyramid(blended(payload, below), path, mpp=mpp)


def write_pyramid(pixels: NDArray[np.uint8], path: Path, *, mpp: float | None) -> None:
    """A picture (h, w, 3) of `mpp` micrometres a pixel as a TIFF of levels that halve, as OpenSlide opens it."""
    import tifffile

    levels = [pixels]
    while max(levels[-1].shape[:2]) > _LEAST:
        height, width = levels[-1].shape[:2]
        smaller = Image.fromarray(levels[-1]).resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BOX)
        levels.append(np.asarray(smaller))
    with tifffile.TiffWriter(path) as writer:
        for number, level in enumerate(levels):
            scale = None if mpp is None else 1e4 / (mpp * pixels.shape[1] / level.shape[1])  # pixels a centimetre
            writer.write(
                level,
                tile=_TILE,
                photometric="rgb",
                compression="deflate",
                metadata=None,
                subfiletype=_REDUCED if number else 0,
                resolution=None if scale is None else (scale, scale),
                resolutionunit=None if scale is None else "CENTIMETER",
            )
