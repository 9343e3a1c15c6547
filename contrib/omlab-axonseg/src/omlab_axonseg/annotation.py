"""Labels of axon cubes without a hand on a brush: rough by contrast, fine by skeleton (Li et al., D-LMBmap, 2023)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]
from skimage.filters import threshold_otsu
from skimage.morphology import skeletonize

_otsu: Any = threshold_otsu  # scikit-image's functions are not typed
_skeletonize: Any = skeletonize

SIGMA = 10.0
SMALLEST = 10
"""Voxels of the smallest part that is kept."""

Mask = NDArray[np.bool_]


def contrast_response(cube: NDArray[Any]) -> NDArray[np.uint16]:
    """How much brighter each voxel is than its 3x3 neighbours along axes 0 and 1, weighed by a Gaussian; never below 0.

    Borders are mirrored about the outermost voxel; fractions are cut off.
    """
    side = np.exp(-1 / (2 * SIGMA**2))
    weights = np.array([side, 1, side]) / (1 + 2 * side)
    image = np.asarray(cube, np.float64)
    blurred = image
    for axis in (0, 1):
        blurred = ndimage.correlate1d(blurred, weights, axis=axis, mode="mirror")
    return np.clip(image - blurred, 0, np.iinfo(np.uint16).max).astype(np.uint16)


def rough_label(cube: NDArray[Any], *, threshold: float | None = None) -> Mask:
    """Where the response is above `threshold`; left out: Otsu's of the responses above 0.

    Upstream sets it by hand for each cube. Raises `ValueError` where nothing responds.
    """
    response = contrast_response(cube)
    if threshold is None:
        above = response[response > 0]
        if not above.size:
            raise ValueError("nothing in the cube is brighter than what is around it")
        threshold = float(_otsu(above)) if above.min() < above.max() else 0.0
    return np.asarray(response > threshold)


def without_specks(mask: Mask, *, smallest: int = SMALLEST) -> Mask:
    """`mask` without parts (26-connected) of fewer voxels than `smallest`."""
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    large = np.bincount(parts.reshape(-1)) >= smallest
    large[0] = False
    return np.asarray(large[parts])


def centre_lines(mask: Mask) -> Mask:
    """The 3-D skeleton of a mask (Lee et al. 1994).

    scikit-image thins some straight parts of even width to nothing (its issue 3757). They get the skeleton that they
    have when they are a voxel wider, which lies inside of them.
    """
    if not mask.any():
        return np.zeros_like(mask)
    lines = np.asarray(_skeletonize(mask)) > 0
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    is_lost = ~np.isin(np.arange(count + 1), parts[lines])
    is_lost[0] = False
    if is_lost.any():
        lost = is_lost[parts]
        wider = ndimage.binary_dilation(lost, np.ones((2, 2, 2)), origin=-1)
        lines |= (np.asarray(_skeletonize(wider)) > 0) & lost
    return lines


def fine_label(rough: Mask, *, smallest: int = SMALLEST) -> Mask:
    """Training's label of a rough one: no specks, its centre lines, a voxel thicker (6-neighbourhood)."""
    return np.asarray(ndimage.binary_dilation(centre_lines(without_specks(rough, smallest=smallest))))
