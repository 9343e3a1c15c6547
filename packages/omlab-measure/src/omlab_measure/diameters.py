"""Diameters of one structure: the longest in space, and in an axial slice the longest with the longest across it.

They go from border to border, half a voxel beyond the outermost voxel centres, as those of pyradiomics. The two in a
slice are what RECIST 1.1 reads by hand (long and short axis): the slice with the longest one, and in it the longest
line at right angles. A line may leave the structure on its way where that is not convex.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull  # type: ignore[import-untyped]
from scipy.spatial.distance import pdist  # type: ignore[import-untyped]

from omlab_measure.regions import Mask, Region

Floats = NDArray[np.float64]

_REACHES = (1, 2, 3, 5, 8, 13)
_DIRECTIONS = 16
"""How many directions bound a slice's longest diameter from above, to half a per cent."""


class Line(NamedTuple):
    """A line between two positions (3,) in mm, RAS+."""

    start: Floats
    end: Floats

    @property
    def length(self) -> float:
        """In mm."""
        return float(np.linalg.norm(self.end - self.start))


class Ends(NamedTuple):
    """Where the lines of voxels along one axis enter a structure and leave it, half a voxel beyond the outermost ones.

    Attributes:
        axis: Along which the lines run.
        corner: The first voxel (3,) of the box that `near` and `far` are counted from.
        near: (N, M) by the line's place along the two other axes; infinite where no line meets the structure.
        far: Likewise, minus infinity there.
    """

    axis: int
    corner: Floats
    near: Floats
    far: Floats

    def points(self, near: Mask, far: Mask) -> Floats:
        """The chosen ends as positions (n, 3) in voxels of the image."""
        found = []
        for chosen, places in ((near, self.near), (far, self.far)):
            found.append(np.insert(np.argwhere(chosen).astype(np.float64), self.axis, places[chosen], axis=1))
        return np.concatenate(found) + self.corner


def border_ends(region: Region) -> tuple[Ends, Ends, Ends]:
    """The ends of all lines of voxels along each axis: a diameter has no others."""
    found = []
    for axis, size in enumerate(region.mask.shape):
        met = region.mask.any(axis=axis)
        first = region.mask.argmax(axis=axis) - 0.5
        last = size - 0.5 - np.flip(region.mask, axis).argmax(axis=axis)
        found.append(Ends(axis, region.corner, np.where(met, first, np.inf), np.where(met, last, -np.inf)))
    return found[0], found[1], found[2]


def longest(ends: Sequence[Ends], *, affine: Floats) -> Line:
    """The longest diameter in space."""
    points = np.concatenate([one.points(_may_be_corner(one.near), _may_be_corner(-one.far)) for one in ends])
    return Line(*_furthest(_in_mm(points, affine)))


def in_slices(ends: Sequence[Ends], *, affine: Floats, normal: int) -> tuple[Line, Line]:
    """The longest diameter within a slice, and the longest at right angles to it in the same slice.

    `normal` is the axis of the array along which slices are counted.
    """
    points = np.concatenate(
        [one.points(np.isfinite(one.near), np.isfinite(one.far)) for one in ends if one.axis != normal]
    )
    points = points[np.argsort(points[:, normal], kind="stable")]
    _, starts = np.unique(points[:, normal], return_index=True)
    placed = _in_mm(points, affine)
    parts = np.split(placed, starts[1:])
    flat = _in_plane(affine, normal)
    most = _bounds(placed @ flat.T, starts)
    best: Line | None = None
    chosen = 0
    for n in np.argsort(-most, kind="stable"):
        if best is not None and most[n] <= best.length:
            break
        line = Line(*_furthest(parts[n], flat=flat))
        if best is None or line.length > best.length * (1 + 1e-12):
            best, chosen = line, int(n)
    assert best is not None, "a region has voxels"
    return best, _across(parts[chosen], best, flat=flat)


def voxel_width(line: Line, *, axes: Floats) -> float:
    """How long a voxel is along a line, in mm: half of it is what either end leaves open."""
    if line.length == 0:
        return 0.0
    return float(np.abs((line.end - line.start) @ axes).sum() / line.length)


def _may_be_corner(heights: Floats) -> Mask:
    """Which ends (N, M) may be corners of their hull: those that do not lie on or above a line between two others.

    Lines of some lengths in four directions are tried, which leaves few of the ends of a large structure.
    """
    kept = np.isfinite(heights)
    for reach in _REACHES:
        wide = np.pad(heights, reach, constant_values=np.inf)
        for a, b in ((0, 1), (1, 0), (1, 1), (1, -1)):
            before, after = (_moved(wide, reach, sign * a * reach, sign * b * reach) for sign in (-1, 1))
            kept &= heights < (before + after) / 2
    return kept


def _moved(wide: Floats, margin: int, a: int, b: int) -> Floats:
    n, m = (size - 2 * margin for size in wide.shape)
    return wide[margin + a : margin + a + n, margin + b : margin + b + m]


def _in_mm(points: Floats, affine: Floats) -> Floats:
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])


def _in_plane(affine: Floats, normal: int) -> Floats:
    """Two unit vectors (2, 3) at right angles that span the slices."""
    first, second = (affine[:3, axis] for axis in range(3) if axis != normal)
    one = first / np.linalg.norm(first)
    other = second - (second @ one) * one
    return np.stack([one, other / np.linalg.norm(other)])


def _bounds(flat: Floats, starts: NDArray[np.intp]) -> Floats:
    """What the longest diameter of each slice cannot exceed, by its widths in some directions."""
    angles = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
    along = flat @ np.stack([np.cos(angles), np.sin(angles)])
    widths = np.maximum.reduceat(along, starts) - np.minimum.reduceat(along, starts)
    return np.asarray(widths.max(axis=1) / np.cos(np.pi / (2 * _DIRECTIONS)) * (1 + 1e-12))


def _furthest(points: Floats, *, flat: Floats | None = None) -> tuple[Floats, Floats]:
    """The two of `points` (n, 3) that are furthest apart; those of a plane are flattened for their hull."""
    corners = points[ConvexHull(points if flat is None else points @ flat.T).vertices]
    at = int(np.argmax(pdist(corners)))
    before = np.cumsum(np.arange(len(corners) - 1, 0, -1))  # pairs of the first corner, of the first two, ...
    first = int(np.searchsorted(before, at, side="right"))
    return corners[first], corners[len(corners) - (before[first] - at)]


def _across(points: Floats, long: Line, *, flat: Floats) -> Line:
    """The longest line at right angles to `long` in the hull of a slice's points."""
    along = (long.end - long.start) @ flat.T / long.length
    turn = np.stack([along, [-along[1], along[0]]])
    turned = (points - long.start) @ flat.T @ turn.T
    corners = turned[ConvexHull(turned).vertices]
    order = corners[np.argsort(corners[:, 0], kind="stable")]
    places = np.unique(order[:, 0])
    above, below = (_edge(order, places, sign=sign) for sign in (1, -1))
    at = int(np.argmax(above - below))
    ends = [np.array([places[at], height]) for height in (below[at], above[at])]
    first, last = (long.start + end @ turn @ flat for end in ends)
    return Line(first, last)


def _edge(corners: Floats, places: Floats, *, sign: int) -> Floats:
    """The upper (1) or lower (-1) edge of a hull whose `corners` are sorted along its first axis, at `places`."""
    kept: list[Floats] = []
    for corner in corners:
        while len(kept) > 1 and sign * _turn(kept[-2], kept[-1], corner) >= 0:
            kept.pop()
        if kept and kept[-1][0] == corner[0]:
            if sign * (corner[1] - kept[-1][1]) <= 0:
                continue
            kept.pop()
        kept.append(corner)
    x, y = np.array(kept).T
    return np.asarray(np.interp(places, x, y), dtype=np.float64)


def _turn(a: Floats, b: Floats, c: Floats) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
