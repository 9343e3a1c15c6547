"""Pictures of a segmentation over its image: one slice in each of the three planes.

Radiological convention: axial slices are seen from the feet and coronal ones from the front, so that the
patient's right is on the picture's left; sagittal slices are seen from the patient's left (front on the
left). One pixel has the same size in mm in every picture of a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter  # type: ignore[import-untyped]
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from omlab_evaluators.labels import Pair

RGB = NDArray[np.uint8]

REFERENCE_COLOUR = (240, 145, 0)
PREDICTION_COLOUR = (60, 170, 255)
BOTH_COLOUR = (255, 255, 255)
LEGEND = {"reference": REFERENCE_COLOUR, "prediction": PREDICTION_COLOUR, "both": BOTH_COLOUR}

PLANES = ("axial", "coronal", "sagittal")
LONGEST_SIDE = 448
"""Pixels along the longest side of the image."""

SOFT_TISSUE_HU = (-160.0, 240.0)
"""Grey window for Hounsfield units; other intensities are shown from their 1st to 99th percentile."""

BRIGHTEST = 190
"""The lightest shade of the image, so that white outlines stand out even on bone."""

_LETTERS = {
    "R": ("1110", "1001", "1001", "1110", "1010", "1001", "1001"),
    "A": ("0110", "1001", "1001", "1111", "1001", "1001", "1001"),
}


@dataclass(frozen=True)
class Orientation:
    """Which voxel axis runs along world x, y, z (`axes`), where it runs backwards, and the spacing in mm."""

    axes: tuple[int, int, int]
    backwards: tuple[bool, bool, bool]
    spacing: tuple[float, float, float]

    @classmethod
    def of(cls, affine: NDArray[np.float64]) -> Orientation:
        """The orientation nearest to an affine (4, 4), which may be oblique."""
        linear = np.asarray(affine, dtype=np.float64)[:3, :3]
        lengths = np.linalg.norm(linear, axis=0)
        _, columns = linear_sum_assignment(-np.abs(linear / lengths))
        i, j, k = (int(c) for c in columns)
        signs = [bool(linear[row, column] < 0) for row, column in enumerate((i, j, k))]
        spacing = (float(lengths[i]), float(lengths[j]), float(lengths[k]))
        return cls((i, j, k), (signs[0], signs[1], signs[2]), spacing)

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of `array` (I, J, K) whose axes grow to the patient's right, front and head."""
        steps = tuple(slice(None, None, -1 if back else 1) for back in self.backwards)
        return array.transpose(self.axes)[steps]


def overlays(reference: Any, prediction: Any, *, image: Any | None, pairs: Sequence[Pair]) -> dict[str, RGB]:
    """One picture (H, W, 3) for each plane, through the middle of the reference.

    `reference` and `prediction` are label maps on one grid, `image` the volume (channel 0 is shown) or None.
    The outline of the reference, that of the prediction and where both coincide have colours of their own.
    """
    orientation = Orientation.of(reference.affine)
    ours = orientation.turn(reference.array)
    theirs = orientation.turn(prediction.array)
    grey = None if image is None or image.array.shape[1:] != reference.array.shape else orientation.turn(image.array[0])
    window = _window(grey, getattr(image, "intensity", "unknown"))
    centre = _centre(ours, theirs, pairs)
    extent = [n * mm for n, mm in zip(ours.shape, orientation.spacing, strict=True)]
    scale = LONGEST_SIDE / max(extent)
    pixels = [max(1, round(mm * scale)) for mm in extent]
    pictures = {}
    for plane, axis in zip(PLANES, (2, 1, 0), strict=True):
        columns, rows = (a for a in range(3) if a != axis)
        size = (pixels[rows], pixels[columns])
        first = _resample_labels(_classes(_slice(ours, axis, centre), [p.reference for p in pairs]), size)
        second = _resample_labels(_classes(_slice(theirs, axis, centre), [p.prediction for p in pairs]), size)
        base = np.zeros(size) if grey is None else _resample_grey(_slice(grey, axis, centre), size)
        picture = _paint(_shades(base, window), first, second)
        pictures[plane] = _framed(picture, width=max(pixels[0], pixels[1]), letter="A" if plane == "sagittal" else "R")
    return pictures


def _slice(array: NDArray[Any], axis: int, centre: Sequence[int]) -> NDArray[Any]:
    """One plane as (rows, columns), head or front at the top, the patient's right or front on the left."""
    plane = np.take(array, centre[axis], axis=axis)
    turned: NDArray[Any] = plane[::-1, ::-1].T
    return turned


def _centre(ours: NDArray[Any], theirs: NDArray[Any], pairs: Sequence[Pair]) -> list[int]:
    """The median position of the reference's voxels (else of the prediction's, else the middle), by axis.

    Unlike their mean, the median always lies in a slice that shows some of them.
    """
    for array, values in ((ours, [p.reference for p in pairs]), (theirs, [p.prediction for p in pairs])):
        present = np.isin(array, [value for value in values if value is not None])
        if present.any():
            return [_median_position(present, axis) for axis in range(3)]
    return [n // 2 for n in ours.shape]


def _median_position(present: NDArray[np.bool_], axis: int) -> int:
    counts = np.count_nonzero(present, axis=tuple(a for a in range(3) if a != axis)).cumsum()
    return int(np.searchsorted(counts, counts[-1] / 2))


def _classes(plane: NDArray[Any], values: Sequence[int | None]) -> NDArray[np.uint16]:
    """The plane with each compared class as its place in the list, from 1; all else 0."""
    result = np.zeros(plane.shape, dtype=np.uint16)
    for place, value in enumerate(values, start=1):
        if value is not None:
            result[plane == value] = place
    return result


def _window(grey: NDArray[Any] | None, intensity: str) -> tuple[float, float]:
    if intensity == "hu" or grey is None:
        return SOFT_TISSUE_HU
    steps = tuple(slice(None, None, max(1, n // 64)) for n in grey.shape)
    some = np.asarray(grey[steps], dtype=np.float64)
    some = some[np.isfinite(some)]
    low, high = np.percentile(some, [1, 99]) if some.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def _shades(base: NDArray[np.float64], window: tuple[float, float]) -> RGB:
    low, high = window
    shades = np.clip((np.nan_to_num(base, nan=low) - low) / (high - low), 0, 1) * BRIGHTEST
    return np.repeat(shades.astype(np.uint8)[..., None], 3, axis=2)


def _paint(picture: RGB, first: NDArray[np.uint16], second: NDArray[np.uint16]) -> RGB:
    reference, prediction = _outline(first), _outline(second)
    picture[reference] = REFERENCE_COLOUR
    picture[prediction] = PREDICTION_COLOUR
    picture[reference & prediction] = BOTH_COLOUR
    return picture


def _outline(classes: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """The outermost two pixels of every class."""
    differs = minimum_filter(classes, size=5, mode="constant") != maximum_filter(classes, size=5, mode="constant")
    result: NDArray[np.bool_] = differs & (classes > 0)
    return result


def _positions(source: int, size: int) -> NDArray[np.float64]:
    """Where the centres of `size` pixels lie among `source` voxels, both covering the same length."""
    return np.clip((np.arange(size) + 0.5) * source / size - 0.5, 0, source - 1)


def _resample_labels(plane: NDArray[np.uint16], size: tuple[int, int]) -> NDArray[np.uint16]:
    rows, columns = (np.rint(_positions(n, m)).astype(np.intp) for n, m in zip(plane.shape, size, strict=True))
    return plane[np.ix_(rows, columns)]


def _resample_grey(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """Linear interpolation, one axis after the other."""
    result = np.asarray(plane, dtype=np.float64)
    for axis in (0, 1):
        where = _positions(result.shape[axis], size[axis])
        below = np.floor(where).astype(np.intp)
        above = np.minimum(below + 1, result.shape[axis] - 1)
        part = np.expand_dims(where - below, 1 - axis)
        result = np.take(result, below, axis=axis) * (1 - part) + np.take(result, above, axis=axis) * part
    return result


def _framed(picture: RGB, *, width: int, letter: str) -> RGB:
    """The picture in the middle of a black frame of that width, with the letter of its left side."""
    missing = width - picture.shape[1]
    framed = np.pad(picture, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)))
    glyph = np.array([[int(bit) for bit in row] for row in _LETTERS[letter]], dtype=bool).repeat(2, 0).repeat(2, 1)
    height, breadth = glyph.shape
    if framed.shape[0] >= height + 12 and width >= breadth + 12:
        # A black edge keeps the letter legible on bright tissue.
        top = framed.shape[0] // 2 - height // 2
        framed[top - 3 : top + height + 3, 3 : 9 + breadth] = 0
        framed[top : top + height, 6 : 6 + breadth][glyph] = 255
    return framed
