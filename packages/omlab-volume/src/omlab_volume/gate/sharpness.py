"""How sharp an image is: how many mm the steepest edge of a line takes from dark to bright.

Along each axis every line through the body has a steepest step between neighbours; were an edge all at that step, it
would be so wide as the contrast of the image is steps long. Blurring makes edges wide along every axis that it works
along; the axis of the slices, along which voxels are long, is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from omlab_volume.gate.look import Look

LINES = 1 << 12
"""Lines along each axis that are looked at, about."""
WIDER = 1.4
"""How many times as wide as those of training cases edges may be."""
CT_MM, CT_VOXELS = 6.0, 2.2
"""An edge in CT that is wider than so many mm, and so many voxels, is blurred, whoever made it."""


def check_sharpness(
    look: Look, across: int, *, learned: Sequence[float] | None, is_hu: bool
) -> tuple[list[str], dict[str, Any]]:
    """A doubt about an image that is blurred, and how wide its edges are within slices.

    Args:
        look: At the image.
        across: The axis of its slices.
        learned: The least and the largest width of the training cases, in mm.
        is_hu: Whether it is CT, of which something is known without them.
    """
    width, voxel = narrower(look, across)
    if not width:
        return [], {}
    most = learned[1] * WIDER if learned else max(CT_MM, CT_VOXELS * voxel) if is_hu else float("inf")
    doubts = []
    if width > most:
        usual = f"of the training cases {learned[1]:.1f} at most" if learned else f"of CT hardly {most:.0f}"
        doubts.append(f"It looks blurred: its edges are {width:.1f} mm wide, those {usual}.")
    return doubts, {"edge_mm": round(width, 2)}


def narrower(look: Look, across: int) -> tuple[float, float]:
    """The edge width within slices along the axis where it is less, and the voxel's size there, in mm."""
    widths = edge_widths(look)
    within = [(widths[axis], look.spacing[axis]) for axis in range(3) if axis != across and widths[axis]]
    return min(within, default=(0.0, 0.0))


def edge_widths(look: Look) -> tuple[float, float, float]:
    """In mm along (z, y, x), the median over the lines through the body; 0 where there is nothing to be seen."""
    contrast = look.levels["middle"] - look.levels["dark"]
    widths = [_width(look, axis, contrast=contrast) for axis in range(3)]
    return widths[0], widths[1], widths[2]


def _width(look: Look, axis: int, *, contrast: float) -> float:
    planes = np.moveaxis(look.whole, axis, 0)
    if len(planes) < 8 or contrast <= 0:
        return 0.0
    step = max(1, round((planes[0].size / LINES) ** 0.5))
    lines = np.nan_to_num(np.array(planes[:, ::step, ::step], np.float32), nan=look.levels["low"])
    lines = lines.clip(look.levels["dark"], look.levels["middle"])
    crossing = np.ptp(lines, axis=0) > 0.9 * contrast
    if not crossing.any():
        return 0.0
    steepest = np.abs(np.diff(lines[:, crossing], axis=0)).max(axis=0)
    return float(look.spacing[axis] * contrast / np.median(steepest))
