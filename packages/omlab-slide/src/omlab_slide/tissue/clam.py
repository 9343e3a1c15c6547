"""Tissue and patches as those of published features were found (Lu et al. 2021, CLAM), to repeat what others did.

Areas count in squares of 512 pixels of level 0, so that a slide scanned at twice the magnification keeps a quarter of
what it kept before: for slides of your own take `omlab_slide.tissue.tissue`, which counts in micrometres.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from omlab.errors import UsageError
from omlab_slide.tissue.polygons import Polygon, outlines
from omlab_slide.tissue.saturation import saturated

Pixels = NDArray[np.uint8]
Test = Literal["four_pt", "four_pt_hard", "center", "basic"]

_UNIT = 512
"""Areas are in squares of so many pixels of level 0."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The parameters of the published recipe, in pixels of the level that is looked at.

    Attributes:
        threshold: Of the saturation.
        median: Side of the median filter.
        closing: Side of the square that closes gaps.
        least_area: Of a piece of tissue, in squares of 512 pixels of level 0.
        least_hole: Of a hole, likewise.
        most_holes: Of a piece.
        is_otsu: The threshold is found after Otsu.
    """

    threshold: int = 8
    median: int = 7
    closing: int = 4
    least_area: float = 100
    least_hole: float = 16
    most_holes: int | None = 8
    is_otsu: bool = False


PRESETS = {
    "default": Preset(),
    "tcga": Preset(least_area=16, least_hole=4),
    "bwh-biopsy": Preset(threshold=15, median=11, closing=2, least_area=1, least_hole=1, most_holes=2),
    "bwh-resection": Preset(threshold=15, median=11),
    "heatmap": Preset(threshold=15, median=11, closing=2, least_area=50, least_hole=8, most_holes=10),
    "function": Preset(threshold=20, median=7, closing=0),
}
"""By the names that the published scripts have for them."""


def clam_outlines(pixels: Pixels, *, scale: tuple[float, float], preset: Preset) -> list[Polygon]:
    """The pieces of tissue of a level (h, w, 3) that is `scale` times coarser than level 0 along x and y."""
    mask, _ = saturated(
        pixels,
        threshold=preset.threshold,
        median=preset.median,
        closing=preset.closing,
        is_otsu=preset.is_otsu,
    )
    unit = int(_UNIT**2 / (scale[0] * scale[1]))
    return outlines(
        mask,
        scale=scale,
        least_area=preset.least_area * unit,
        least_hole=preset.least_hole * unit,
        most_holes=preset.most_holes,
    )


def clam_corners(
    polygons: Iterable[Polygon],
    *,
    dimensions: tuple[int, int],
    patch: int,
    step: int,
    test: Test = "four_pt",
    pads: bool = True,
) -> NDArray[np.int64]:
    """Corners (N, 2) of patches as published: a grid of its own from the box of each piece on, x by x.

    Args:
        polygons: Of the tissue, in pixels of level 0.
        dimensions: Width and height of level 0.
        patch: Side of a patch in pixels of level 0.
        step: From one patch to the next, likewise.
        test: Which points of a patch must lie in the piece: one of four around its centre, all four, its centre, its
            corner. None may have its centre in a hole.
        pads: Whether patches may reach beyond the slide.
    """
    found = [_corners_in(one, dimensions, patch=patch, step=step, test=test, pads=pads) for one in polygons]
    return np.concatenate([np.empty((0, 2), np.int64), *found])


def _corners_in(
    polygon: Polygon, dimensions: tuple[int, int], *, patch: int, step: int, test: Test, pads: bool
) -> NDArray[np.int64]:
    x, y, width, height = polygon.box
    stop_x, stop_y = x + width, y + height
    if not pads:
        stop_x = min(stop_x, dimensions[0] - patch + 1)
        stop_y = min(stop_y, dimensions[1] - patch + 1)
    kept = [
        (left, top)
        for left in range(x, stop_x, step)
        for top in range(y, stop_y, step)
        if _is_inside(polygon, left, top, patch=patch, test=test)
    ]
    return np.array(kept, np.int64).reshape(-1, 2)


def _is_inside(polygon: Polygon, left: int, top: int, *, patch: int, test: Test) -> bool:
    middle = (left + patch // 2, top + patch // 2)
    shift = int(patch // 2 * 0.5)
    if test == "basic":
        points = [(left, top)]
    elif test == "center" or shift == 0:
        points = [middle]
    elif test in ("four_pt", "four_pt_hard"):
        points = [(middle[0] + i * shift, middle[1] + j * shift) for i in (-1, 1) for j in (-1, 1)]
    else:
        raise UsageError(f"Patches are tested by four_pt, four_pt_hard, center or basic, not by '{test}'.")
    wanted = all if test == "four_pt_hard" else any
    if not wanted(cv2.pointPolygonTest(polygon.outer, point, False) >= 0 for point in points):
        return False
    exact = (left + patch / 2, top + patch / 2)
    return not any(cv2.pointPolygonTest(hole, exact, False) > 0 for hole in polygon.holes)
