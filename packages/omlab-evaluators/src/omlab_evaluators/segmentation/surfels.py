"""The surface of a mask as small elements (surfels) with exact areas, as in marching cubes.

Between every 2x2x2 neighbouring voxels lies one surfel where some of the eight are inside the mask and
some outside. Its shape is that of the marching-cubes surface (Lorensen and Cline 1987) at level 1/2: on
each edge between an inside and an outside corner a vertex at the middle, vertices joined across the
faces to polygons. Two choices make the surface definite, and agree with the areas that Nikolov et al.
(2018, arXiv:1809.04430) weight their surface Dice with:

- on a face with two inside corners at a diagonal, the smaller of the two sets of corners (of the
  eight) is cut apart; with four of each, the inside;
- a polygon of five or six vertices, which need not be flat, is cut into the fan of triangles that has
  the largest area on a cube of unit edges.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vertex = tuple[float, float, float]
Corner = tuple[int, int, int]

CORNERS: tuple[Corner, ...] = tuple((i, j, k) for i, j, k in product((0, 1), repeat=3))
"""Corners of a cube; bit n of a code says whether corner n is inside."""


def codes(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """Which corners are inside, for every 2x2x2 cube of `mask` (I, J, K) and its empty surroundings.

    The result is (I + 1, J + 1, K + 1): the mask's surface is closed where it touches the array's border.
    """
    padded: NDArray[np.uint8] = np.zeros([n + 2 for n in mask.shape], dtype=np.uint8)
    padded[1:-1, 1:-1, 1:-1] = mask != 0
    # Axis by axis: two corners along k, four in a plane, eight; bits are in the order of CORNERS.
    pairs: NDArray[np.uint8] = padded[:, :, :-1] | padded[:, :, 1:] << np.uint8(1)
    fours: NDArray[np.uint8] = pairs[:, :-1] | pairs[:, 1:] << np.uint8(2)
    eights: NDArray[np.uint8] = fours[:-1] | fours[1:] << np.uint8(4)
    return eights


def areas(axes: Floats) -> Floats:
    """Area in mm² of the surfel of each of the 256 codes, for voxels whose edges are the columns of `axes` (mm)."""
    # An area vector transforms with the cofactor matrix, so one table serves every spacing and shear.
    cofactor = np.linalg.det(axes) * np.linalg.inv(axes).T
    table, owners = _triangles()
    sizes = np.linalg.norm(table @ cofactor.T, axis=1)
    result: Floats = np.bincount(owners, weights=sizes, minlength=256).astype(np.float64)
    return result


@cache
def shares() -> Floats:
    """Which share of a unit cube lies inside, (256,) by code; times a voxel's volume, whatever its spacing or shear."""
    return np.array([_share(code) for code in range(256)])


def _share(code: int) -> float:
    """By the divergence theorem, from the middle of the cube: the polygons, and what of each face is inside."""
    inside = {corner for bit, corner in enumerate(CORNERS) if code >> bit & 1}
    if len(inside) > 4:  # the surface is that of the corners outside
        return 1 - _share(255 - code)
    middle = np.full(3, 0.5)
    flux = sum(_inside_of(face, inside) * 0.5 for face in _faces())
    for polygon in _polygons(code):
        apex, fan = _largest_fan(np.array(polygon))
        area = fan.sum(axis=0)
        flux += float(area @ (apex - middle)) * np.sign(area @ _outwards(polygon, inside))
    return float(flux) / 3


def _inside_of(face: list[Corner], inside: set[Corner]) -> float:
    """The area of a face that is inside; corners at a diagonal are cut apart."""
    taken = [corner in inside for corner in face]
    if sum(taken) == 2:
        return 0.25 if taken[0] == taken[2] else 0.5
    return {0: 0.0, 1: 0.125, 3: 0.875, 4: 1.0}[sum(taken)]


def _outwards(polygon: list[Vertex], inside: set[Corner]) -> Floats:
    """A direction from the inside corners beside a polygon to those outside."""
    steps = []
    for vertex in polygon:
        ends = [tuple(math.floor(x) if side == 0 else math.ceil(x) for x in vertex) for side in (0, 1)]
        step = np.subtract(ends[1], ends[0])
        steps.append(step if ends[0] in inside else -step)
    return np.asarray(np.sum(steps, axis=0), dtype=np.float64)


@cache
def _triangles() -> tuple[Floats, NDArray[np.intp]]:
    """Area vectors (n, 3) of all triangles on the unit cube, and the code that each belongs to (n,)."""
    vectors: list[Floats] = []
    owners: list[int] = []
    for code in range(256):
        for polygon in _polygons(code):
            _, fan = _largest_fan(np.array(polygon))
            vectors.extend(fan)
            owners.extend([code] * len(fan))
    return np.array(vectors), np.array(owners, dtype=np.intp)


def _polygons(code: int) -> list[list[Vertex]]:
    """The closed polygons that separate the inside corners of a unit cube from the others."""
    inside = {corner for bit, corner in enumerate(CORNERS) if code >> bit & 1}
    if len(inside) > 4:
        inside = set(CORNERS) - inside
    joined: dict[Vertex, list[Vertex]] = {}
    for face in _faces():
        for a, b in _segments(face, inside):
            joined.setdefault(a, []).append(b)
            joined.setdefault(b, []).append(a)
    polygons = []
    while joined:
        vertex = next(iter(joined))
        polygon = []
        while vertex in joined:
            polygon.append(vertex)
            one, other = joined.pop(vertex)
            vertex = one if one in joined else other
        polygons.append(polygon)
    return polygons


def _faces() -> list[list[Corner]]:
    """The six faces, each with its corners in cyclic order."""
    faces = []
    for axis, side in product(range(3), (0, 1)):
        around = [(0, 0), (1, 0), (1, 1), (0, 1)]
        faces.append([(*pair[:axis], side, *pair[axis:]) for pair in around])
    return faces  # type: ignore[return-value]  # two numbers and one make three


def _segments(face: list[Corner], inside: set[Corner]) -> list[tuple[Vertex, Vertex]]:
    """The lines in which the surface crosses a face."""
    middles: list[Vertex] = [_middle(face[n], face[(n + 1) % 4]) for n in range(4)]
    crossed = [n for n in range(4) if (face[n] in inside) != (face[(n + 1) % 4] in inside)]
    if len(crossed) == 4:  # two inside corners at a diagonal: each is cut off by a line of its own
        return [(middles[n - 1], middles[n]) for n in range(4) if face[n] in inside]
    return [(middles[crossed[0]], middles[crossed[1]])] if crossed else []


def _middle(a: Corner, b: Corner) -> Vertex:
    return ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2)


def _largest_fan(polygon: Floats) -> tuple[Floats, Floats]:
    """The vertex (3,) of the fan (from it to all others) with the largest area, and its triangles' area vectors."""
    fans: list[Floats] = []
    for start in range(len(polygon)):
        spokes = np.roll(polygon, -start, axis=0)[1:] - polygon[start]
        fans.append(np.cross(spokes[:-1], spokes[1:]) / 2)
    sizes = [float(np.linalg.norm(fan, axis=1).sum()) for fan in fans]
    start = int(np.argmax(sizes))
    return polygon[start], fans[start]
