"""Finding the tissue of a slide, counted in micrometres, so that scanners and magnifications do not matter.

found = tissue(slide)                                  # by saturation
found = tissue(slide, method="otsu", least_mm2=0.1)
found = tissue(slide, method=network)                  # `Finder`: (slide) -> mask
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, OmlabWarning, UsageError
from omlab_slide.resizing import at_size
from omlab_slide.slide import Slide
from omlab_slide.tissue.clam import PRESETS, clam_outlines
from omlab_slide.tissue.grey import darker, grown, side_at
from omlab_slide.tissue.ink import PEN_SHARE, pen_mask
from omlab_slide.tissue.polygons import Polygon, covered, outlines
from omlab_slide.tissue.saturation import saturated

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MPP = 8.0
"""Micrometres a pixel at which tissue is looked for unless told otherwise."""
NEARLY_ALL = 0.95
"""Share of a slide beyond which tissue is doubted."""
CONTRAST = 12.0
"""Least difference of the mean luminance of tissue and glass: Otsu finds two classes in whatever it is given."""
_MIDDLE = 0.5
"""Lines run through the middle of the mask's pixels."""
MOST_PIXELS = 100_000_000
"""Of a level that is looked at whole."""


class Finder(Protocol):
    """Finds tissue in a way of its own, such as a network; see `omlab_slide.tissue.network.ByTiles`."""

    def __call__(self, slide: Slide, /) -> Mask:
        """A mask (h, w) that covers the slide whole, of whatever size."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Tissue:
    """The tissue of a slide.

    Attributes:
        mask: (h, w), the slide whole.
        downsample: How many pixels of level 0 a pixel of the mask is wide and high.
        polygons: The same as lines, in pixels of level 0.
        mpp: Micrometres a pixel of the mask; None where the slide's are not known.
        doubts: A sentence for each thing that is odd about it.
    """

    mask: Mask
    downsample: tuple[float, float]
    polygons: Sequence[Polygon]
    mpp: float | None = None
    doubts: Sequence[str] = field(default_factory=tuple)

    @property
    def share(self) -> float:
        """Of the slide."""
        return float(self.mask.mean())

    @property
    def area_mm2(self) -> float | None:
        """In square millimetres."""
        return None if self.mpp is None else float(self.mask.sum()) * self.mpp**2 / 1e6


def tissue(
    slide: Slide,
    method: str | Finder = "saturation",
    *,
    mpp: float = MPP,
    threshold: int = 8,
    smooth_um: float = 56.0,
    close_um: float = 40.0,
    least_mm2: float = 0.02,
    least_hole_mm2: float = 0.02,
    keeps_pen: bool = False,
) -> Tissue:
    """Find the tissue of a slide.

    Args:
        slide: Its mpp must be known, but for the presets of `clam-`.
        method: `saturation` (what is no grey), `otsu` (what is darker than the glass), `morphological` (the same,
            dilated by 32 micrometres), `clam-NAME` (the published recipe with a preset, in its own units: the other
            parameters do not count), or a finder of your own.
        mpp: Micrometres a pixel at which it is looked for.
        threshold: Of the saturation, from 0 to 255.
        smooth_um: Side of the median filter on the saturation.
        close_um: Gaps up to this are closed.
        least_mm2: A piece has more than this.
        least_hole_mm2: A hole has more than this, or is filled.
        keeps_pen: Whether ink of pens counts as tissue where it looks like it.

    Warns where there is no tissue, nearly nothing else, or ink.

    Raises:
        InputError: The slide's mpp is not known; says what to give.
        UsageError: There is no such method.
    """
    if isinstance(method, str) and method.startswith(_CLAM):
        found = _by_preset(slide, method.removeprefix(_CLAM))
        return _doubted(slide, found, pen=0.0)
    if isinstance(method, str) and method not in METHODS:
        raise UsageError(f"Tissue is found by {', '.join([*METHODS, *CLAM_METHODS])}, not by '{method}'.")
    pen = 0.0
    if isinstance(method, str):
        size, used = _size_at(slide, mpp)
        pixels = at_size(slide, size)
        sides = {"smooth": _odd(smooth_um / used), "close": _odd(close_um / used), "threshold": threshold}
        ink = pen_mask(pixels)
        pen = float(ink.mean())
        if not keeps_pen:
            pixels = np.where(ink[..., None], np.uint8(255), pixels)
        mask = METHODS[method](pixels, used, sides)
    else:
        mask = np.asarray(method(slide), bool)
    scale = (slide.dimensions[0] / mask.shape[1], slide.dimensions[1] / mask.shape[0])
    pixel_mm2 = scale[0] * scale[1] * slide.scale**2 / 1e6
    polygons = outlines(
        mask, scale=scale, least_area=least_mm2 / pixel_mm2, least_hole=least_hole_mm2 / pixel_mm2, through=_MIDDLE
    )
    return _doubted(slide, _made(slide, polygons, shape=mask.shape, scale=scale, through=_MIDDLE), pen=pen)


def _by_saturation(pixels: Pixels, mpp: float, given: Mapping[str, int]) -> Mask:
    mask, _ = saturated(pixels, threshold=given["threshold"], median=given["smooth"], closing=0)
    side = given["close"]
    padded = cv2.copyMakeBorder(mask, side, side, side, side, cv2.BORDER_CONSTANT, value=0)  # the edge is no tissue
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)
    return np.asarray(closed[side:-side, side:-side] > 0)


def _by_otsu(pixels: Pixels, mpp: float, given: Mapping[str, int]) -> Mask:
    mask, _ = darker(pixels)
    if not mask.any() or mask.all() or float(pixels[~mask].mean() - pixels[mask].mean()) < CONTRAST:
        return np.zeros(mask.shape, bool)
    return mask


def _by_morphology(pixels: Pixels, mpp: float, given: Mapping[str, int]) -> Mask:
    return grown(_by_otsu(pixels, mpp, given), side=side_at(mpp))[0]


METHODS: Mapping[str, Callable[[Pixels, float, Mapping[str, int]], Mask]] = {
    "saturation": _by_saturation,
    "otsu": _by_otsu,
    "morphological": _by_morphology,
}
"""(overview, micrometres a pixel, sides in pixels) -> mask, by name."""
_CLAM = "clam-"
_CLAM_DOWNSAMPLE = 64
_AT_ONCE = 1 << 24
CLAM_METHODS = tuple(f"{_CLAM}{name}" for name in PRESETS)
"""Names of the published recipe with its presets."""


def _by_preset(slide: Slide, name: str) -> Tissue:
    """As published: the level for a downsample of 64, whole; of one level, that one."""
    if name not in PRESETS:
        raise UsageError(f"The published recipe has the presets {', '.join(PRESETS)}, not '{name}'.")
    fitting = [n for n, level in enumerate(slide.levels) if level.downsample <= _CLAM_DOWNSAMPLE]
    number = max(fitting, default=0)
    level = slide.levels[number]
    if level.size[0] * level.size[1] > MOST_PIXELS:
        raise InputError(
            f"{slide.name} has no level that is coarse enough for the published recipe ({level.size[0]} x "
            f"{level.size[1]} pixels): take the tissue method saturation."
        )
    scale = (slide.dimensions[0] / level.size[0], slide.dimensions[1] / level.size[1])
    is_small = (
        level.size[0] * level.size[1] <= _AT_ONCE
    )  # in one piece as published: blocks may be shifted by a fraction
    pixels = slide.read((0, 0), number, level.size) if is_small else at_size(slide, level.size)
    polygons = clam_outlines(pixels, scale=scale, preset=PRESETS[name])
    return _made(slide, polygons, shape=pixels.shape[:2], scale=scale, through=0.0)


def _size_at(slide: Slide, mpp: float) -> tuple[tuple[int, int], float]:
    """Width and height of the slide at `mpp`, not finer than it is, and the mpp that this comes to."""
    factor = max(1.0, mpp / slide.scale)
    size = (max(1, round(slide.dimensions[0] / factor)), max(1, round(slide.dimensions[1] / factor)))
    if size[0] * size[1] > MOST_PIXELS:
        raise UsageError(
            f"{slide.name} has {size[0]} x {size[1]} pixels at {mpp:g} micrometres a pixel: look for tissue at more."
        )
    return size, factor * slide.scale


def _odd(side: float) -> int:
    """The odd number nearest to a side in pixels: a filter then does not shift; no more than OpenCV's 255."""
    return min(255, max(1, 2 * round((side - 1) / 2) + 1))


def _made(
    slide: Slide,
    polygons: Sequence[Polygon],
    *,
    shape: tuple[int, ...],
    scale: tuple[float, float],
    through: float,
) -> Tissue:
    mpp = None if slide.mpp is None else slide.mpp * float(np.sqrt(scale[0] * scale[1]))
    mask = covered(polygons, shape=(shape[0], shape[1]), scale=scale, through=through)
    return Tissue(mask=mask, downsample=scale, polygons=polygons, mpp=mpp)


def _doubted(slide: Slide, found: Tissue, *, pen: float) -> Tissue:
    """The tissue with what is odd about it, which is also warned about."""
    doubts = []
    if not found.polygons:
        doubts.append(f"No tissue was found on {slide.name}.")
    elif found.share > NEARLY_ALL:
        doubts.append(f"{100 * found.share:.0f} % of {slide.name} was found to be tissue, which is rarely right.")
    if pen > PEN_SHARE:
        doubts.append(f"{100 * pen:.1f} % of {slide.name} looks like the ink of a pen.")
    for doubt in doubts:
        warnings.warn(doubt, OmlabWarning, stacklevel=3)
    return Tissue(
        mask=found.mask, downsample=found.downsample, polygons=found.polygons, mpp=found.mpp, doubts=tuple(doubts)
    )
