"""Cropping fundus photographs to the round field of view, as models of the retina want them.

What is looked for is a bright disc on a dark surround: the surround's level is that of the darkest corner, the disc's
edge is found on a reduced picture, and a circle is fitted to it that leaves out what does not lie on one (a notch, a
label, eyelashes). Sides where the camera cut the disc off do not count as its edge.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from omlab.errors import OmlabWarning
from omlab_image.image import Image

_SIDE = 400
"""Pixels of the longer side of the reduced picture."""
_EDGE = 0.12
"""The disc begins at this share of the way from the surround's level to the disc's."""
_CONTRAST = 0.05
"""The least difference between both levels (white is 1)."""
_ROUNDS = 12
_NEAR = 0.02
"""An edge pixel belongs to the circle where it is nearer than this share of the radius."""
_AGREE = 0.6
"""The least share of the edge that must lie on the circle."""
_FILL = 0.85
"""The least overlap (intersection over union) of disc and circle within the picture."""

Circle = tuple[float, float, float]
"""Row and column of the middle, and radius, in pixels."""


def fundus_crop(image: Image) -> Image:
    """The smallest square around the round field of view of a fundus photograph; all outside the circle is black.

    Where the circle reaches beyond the picture, the square is filled with black. A photograph in which no circle is
    found is given back as it is, with an `OmlabWarning`.
    """
    circle = fundus_circle(image)
    if circle is None:
        warnings.warn(
            f"{image.name or 'The image'}: no round field of view was found; it is used as it is.",
            OmlabWarning,
            stacklevel=2,
        )
        return image
    row, column, radius = circle
    side = max(1, round(2 * radius))
    top, left = round(row - side / 2 + 0.5), round(column - side / 2 + 0.5)
    square = np.zeros((side, side, *image.array.shape[2:]), image.array.dtype)
    rows, columns = (slice(max(0, a), min(a + side, n)) for a, n in zip((top, left), image.shape, strict=True))
    square[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image.array[rows, columns]
    square[_distance((side, side), row - top, column - left) > radius + 0.5] = 0
    return replace(image, array=square)


def fundus_circle(image: Image) -> Circle | None:
    """Where the round field of view lies; None where none is found."""
    brightness = image.unit()
    if not np.isfinite(brightness).all():
        return None
    if brightness.ndim == 3:
        brightness = brightness.max(axis=2)
    step = max(1, -(-max(image.shape) // _SIDE))
    rows, columns = (n // step * step for n in image.shape)
    small = brightness[:rows, :columns].reshape(rows // step, step, columns // step, step).mean(axis=(1, 3))
    disc = _disc(small)
    circle = None if disc is None else _fitted(disc)
    if circle is None:
        return None
    row, column, radius = (part * step for part in circle)
    return row + (step - 1) / 2, column + (step - 1) / 2, radius


def _disc(brightness: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """The bright area, its holes filled and thin things taken off; None where nothing stands out."""
    height, width = brightness.shape
    if min(height, width) < 16:
        return None
    corner = max(2, min(height, width) // 20)
    ends = (slice(None, corner), slice(-corner, None))
    dark = min(float(np.median(brightness[rows, columns])) for rows in ends for columns in ends)
    bright = float(np.median(brightness[brightness > dark + _CONTRAST])) if (brightness > dark + _CONTRAST).any() else 0
    if bright - dark < _CONTRAST:
        return None
    smooth = ndimage.median_filter(brightness, 3)
    found = ndimage.binary_opening(smooth > dark + _EDGE * (bright - dark), iterations=2)
    parts, count = ndimage.label(found)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == int(sizes.argmax()))
    return filled


def _fitted(disc: NDArray[np.bool_]) -> Circle | None:
    """The circle that most of the disc's edge lies on; None where that is not a circle."""
    height, width = disc.shape
    edge = disc & ~ndimage.binary_erosion(disc, border_value=1)
    rows, columns = np.nonzero(edge)
    inside = (rows > 1) & (rows < height - 2) & (columns > 1) & (columns < width - 2)
    rows, columns = rows[inside].astype(np.float64), columns[inside].astype(np.float64)
    if len(rows) < 20:
        return None
    kept = np.ones(len(rows), bool)
    circle = _least_squares(rows, columns)
    for _ in range(_ROUNDS):
        off = np.abs(np.hypot(rows - circle[0], columns - circle[1]) - circle[2])
        closer = off <= max(_NEAR * circle[2], float(np.quantile(off, _AGREE)))
        if (closer == kept).all():
            break
        kept = closer
        circle = _least_squares(rows[kept], columns[kept])
    row, column, radius = circle
    if not np.isfinite(circle).all() or not 0.2 * min(disc.shape) < radius < 1.5 * max(disc.shape):
        return None
    off = np.abs(np.hypot(rows - row, columns - column) - radius)
    within = _distance(disc.shape, row, column) <= radius + 0.5
    overlap = np.count_nonzero(within & disc) / np.count_nonzero(within | disc)
    if np.mean(off <= _NEAR * radius + 1) < _AGREE or overlap < _FILL or within.mean() > 0.98:
        return None
    return row, column, radius + 0.5  # the edge is made of the disc's own last pixels


def _least_squares(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Circle:
    """The circle of least algebraic error (Kåsa 1976): 2 a r + 2 b c + d = r^2 + c^2."""
    system = np.stack([2 * rows, 2 * columns, np.ones_like(rows)], axis=1)
    (row, column, rest), *_ = np.linalg.lstsq(system, rows**2 + columns**2, rcond=None)
    return float(row), float(column), float(np.sqrt(max(rest + row**2 + column**2, 0.0)))


def _distance(shape: tuple[int, ...], row: float, column: float) -> NDArray[np.float64]:
    """Of each pixel from a place."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(rows - row, columns - column))
