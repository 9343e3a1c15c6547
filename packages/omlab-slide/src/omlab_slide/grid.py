"""The grid of patches of a slide: one for the slide whole, in pixels of level 0, at a scale in micrometres.

    found = patches(slide, mpp=0.5, patch=256, tissue=tissue(slide))
    found.coords                                           # (N, 2) int32, row by row

Corners are rounded from exact multiples of the step, so that a scale that is no level's does not drift.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omlab.errors import OmlabWarning, UsageError
from omlab_slide.slide import Slide
from omlab_slide.tissue.clam import Test, clam_corners
from omlab_slide.tissue.find import Tissue

OBJECTIVE = 10.0
"""Micrometres a pixel times magnification, by convention: 20x has 0.5."""
_ENLARGED = 0.95


@dataclass(frozen=True, eq=False, kw_only=True)
class Patches:
    """Patches of a slide.

    Attributes:
        coords: (N, 2) int32, the top-left corner (x, y) of each in pixels of level 0, row by row.
        share: (N,) float16, how much of each is tissue.
        size0: Side of a patch in pixels of level 0.
        size: Side of a patch in pixels, as an encoder sees it.
        mpp: Micrometres a pixel, as an encoder sees it.
        downsample: How many times coarser than level 0 that is, exactly.
    """

    coords: NDArray[np.int32]
    share: NDArray[np.float16]
    size0: int
    size: int
    mpp: float
    downsample: float

    def __len__(self) -> int:
        return len(self.coords)


def as_mpp(scale: float | str) -> float:
    """Micrometres a pixel of a number, or of a magnification such as `20x`. Raises `UsageError`."""
    text = str(scale).strip().lower()
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(x?)", text)
    value = float(match[1]) if match else 0.0
    if match is None or not value:
        raise UsageError(
            f"'{scale}' is no scale: give micrometres a pixel, such as 0.5, or a magnification, such as 20x."
        )
    return OBJECTIVE / value if match[2] else value


def patches(
    slide: Slide,
    *,
    mpp: float | str,
    patch: int = 256,
    overlap: int = 0,
    tissue: Tissue | None = None,
    least_share: float = 0.5,
) -> Patches:
    """The patches of a slide that hold enough tissue; without `tissue` all.

    A patch may reach beyond the right and lower edge, where it is white.

    Args:
        slide: Its mpp must be known.
        mpp: Micrometres a pixel of a patch, or a magnification such as `20x`.
        patch: Side in pixels, at that scale.
        overlap: Pixels that a patch shares with the next, at that scale.
        tissue: Where the tissue is.
        least_share: Of a patch that must be tissue, from 0 to 1; 0: some of it.

    Warns where patches are finer than the slide. Raises `InputError` where the slide's mpp is not known, `UsageError`.
    """
    check_grid(patch=patch, overlap=overlap, least_share=least_share)
    wanted = as_mpp(mpp)
    downsample = wanted / slide.scale
    if downsample < _ENLARGED:
        warnings.warn(
            f"{slide.name} has {slide.scale:g} micrometres a pixel: patches at {wanted:g} are enlarged "
            f"{1 / downsample:.2g} times.",
            OmlabWarning,
            stacklevel=2,
        )
    size0 = max(1, round(patch * downsample))
    coords = corners(slide.dimensions, step=(patch - overlap) * downsample)
    share = np.ones(len(coords)) if tissue is None else _tissue_shares(tissue, coords, size0=size0)
    is_kept = share > 0 if tissue is not None and least_share == 0 else share >= least_share - 1e-9
    return Patches(
        coords=coords[is_kept],
        share=share[is_kept].astype(np.float16),
        size0=size0,
        size=patch,
        mpp=wanted,
        downsample=downsample,
    )


def published_patches(
    slide: Slide,
    tissue: Tissue,
    *,
    level: int = 0,
    patch: int = 256,
    step: int = 256,
    test: Test = "four_pt",
    pads: bool = True,
) -> Patches:
    """The patches that published features were made of (Lu et al. 2021), of a slide whose mpp is known.

    Args:
        slide: The slide.
        tissue: Found by one of the presets, such as `tissue(slide, "clam-tcga")`.
        level: Of which patches are read as they stand.
        patch: Side in pixels of the level.
        step: From one to the next, likewise.
        test: Which points of a patch must lie in a piece of tissue (`omlab_slide.tissue.clam.clam_corners`).
        pads: Whether patches may reach beyond the slide.

    Raises `InputError` where the slide's mpp is not known.
    """
    downsample = slide.levels[level].downsample
    whole = int(downsample)
    found = clam_corners(
        tissue.polygons,
        dimensions=slide.dimensions,
        patch=patch * whole,
        step=step * whole,
        test=test,
        pads=pads,
    ).astype(np.int32)
    return Patches(
        coords=found,
        share=_tissue_shares(tissue, found, size0=patch * whole).astype(np.float16),
        size0=patch * whole,
        size=patch,
        mpp=slide.scale * downsample,
        downsample=downsample,
    )


def check_grid(*, patch: int, overlap: int, least_share: float) -> None:
    """Raise `UsageError` where there can be no such grid: told before any slide is opened."""
    if patch < 1 or not 0 <= overlap < patch:
        raise UsageError(f"Patches have a side of at least 1 and an overlap below it, not {patch} and {overlap}.")
    if not 0 <= least_share <= 1:
        raise UsageError(f"The least share of tissue is from 0 to 1, not {least_share}.")


def corners(dimensions: tuple[int, int], *, step: float) -> NDArray[np.int32]:
    """Corners (N, 2) of a grid over a slide, row by row, every `step` pixels of level 0, which need not be whole."""
    x, y = (np.rint(np.arange(math.ceil(side / step)) * step).astype(np.int32) for side in dimensions)
    x, y = x[x < dimensions[0]], y[y < dimensions[1]]
    return np.stack([np.tile(x, len(y)), np.repeat(y, len(x))], axis=1)


def _tissue_shares(tissue: Tissue, coords: NDArray[np.int32], *, size0: int) -> NDArray[np.float64]:
    return shares(tissue.mask, coords, size0=size0, downsample=tissue.downsample)


def shares(
    mask: NDArray[np.bool_], coords: NDArray[np.int32], *, size0: int, downsample: tuple[float, float]
) -> NDArray[np.float64]:
    """How much of each patch (N,) a mask of the slide covers, exactly; what lies beyond the slide is not covered.

    From sums over the mask up to each pixel (Crow 1984), between pixels linearly: four look-ups a patch.

    Args:
        mask: (h, w), the slide whole.
        coords: (N, 2), the top-left corner (x, y) of each patch in pixels of level 0.
        size0: Side of a patch in pixels of level 0.
        downsample: How many of them a pixel of the mask is wide and high.
    """
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    sums[1:, 1:] = mask.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    x, y = coords[:, 0].astype(np.float64), coords[:, 1].astype(np.float64)
    left, right = x / downsample[0], (x + size0) / downsample[0]
    top, bottom = y / downsample[1], (y + size0) / downsample[1]
    inside = _sum_to(sums, right, bottom) - _sum_to(sums, left, bottom) - _sum_to(sums, right, top)
    inside += _sum_to(sums, left, top)
    area = size0**2 / (downsample[0] * downsample[1])
    return np.clip(inside / area, 0.0, 1.0)


def _sum_to(sums: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mask's sum over all that lies left of x and above y."""
    x = np.clip(x, 0, sums.shape[1] - 1)
    y = np.clip(y, 0, sums.shape[0] - 1)
    i, j = np.minimum(x.astype(int), sums.shape[1] - 2), np.minimum(y.astype(int), sums.shape[0] - 2)
    u, v = x - i, y - j
    above = sums[j, i] * (1 - u) + sums[j, i + 1] * u
    below = sums[j + 1, i] * (1 - u) + sums[j + 1, i + 1] * u
    found: NDArray[np.float64] = above * (1 - v) + below * v
    return found
