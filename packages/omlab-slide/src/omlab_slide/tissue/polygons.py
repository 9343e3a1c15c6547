"""Outlines of a mask as polygons with holes, in pixels of level 0."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Polygon:
    """A piece of tissue: `outer` (N, 2) and each of `holes` are corners (x, y) in pixels of level 0."""

    outer: Points
    holes: Sequence[Points] = ()

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width and height of what it covers, as pixels are counted (one point is 1 x 1)."""
        x, y, width, height = cv2.boundingRect(self.outer)
        return x, y, width, height

    @property
    def outer_area(self) -> float:
        """Inside of the outer line, in square pixels, as the corners span it."""
        return float(cv2.contourArea(self.outer))

    @property
    def hole_areas(self) -> list[float]:
        """Of each hole, in square pixels."""
        return [float(cv2.contourArea(hole)) for hole in self.holes]

    @property
    def area(self) -> float:
        """Without its holes, in square pixels."""
        return self.outer_area - sum(self.hole_areas)


def outlines(
    mask: NDArray[np.uint8] | Mask,
    *,
    scale: tuple[float, float],
    least_area: float,
    least_hole: float,
    most_holes: int | None = None,
    through: float = 0.0,
) -> list[Polygon]:
    """The pieces of a mask, those with more than `least_area`, with the holes that have more than `least_hole`.

    An island in a hole is a piece of its own. Net areas (the outer line's without all of its holes) are compared.

    Args:
        mask: (h, w), what is not 0 is tissue.
        scale: How many pixels of level 0 one of its pixels is wide and high.
        least_area: In square pixels of the mask; what has not more is left out.
        least_hole: In square pixels of the mask; a hole that has not more is filled.
        most_holes: Of a piece, the largest of which are looked at; None: all.
        through: Where in a pixel of the mask lines run: 0 its upper left corner, as published, 0.5 its middle.
    """
    binary = np.ascontiguousarray(mask, np.uint8)
    lines, tree = cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if tree is None or not len(lines):
        return []
    contours = [np.asarray(line, np.int32) for line in lines]
    parents = np.asarray(tree).reshape(-1, 4)[:, 3]
    found = []
    for number in np.flatnonzero(parents == -1):
        inside = [contours[hole] for hole in np.flatnonzero(parents == number)]
        areas = [cv2.contourArea(hole) for hole in inside]
        net = cv2.contourArea(contours[number]) - sum(areas)
        if net == 0 or not net > least_area:
            continue
        largest = sorted(range(len(inside)), key=lambda n: -areas[n])[:most_holes]
        holes = [_scaled(inside[n], scale, through) for n in largest if areas[n] > least_hole]
        found.append(Polygon(_scaled(contours[number], scale, through), holes))
    return found


def _scaled(contour: Points, scale: tuple[float, float], through: float) -> Points:
    """Corners (N, 2) in pixels of level 0, cut off towards 0."""
    found: Points = ((contour.reshape(-1, 2) + through) * np.array(scale)).astype(np.int32)
    return found


def filled(polygons: Iterable[Polygon], *, shape: tuple[int, int], scale: tuple[float, float]) -> Mask:
    """The mask (h, w) that polygons cover as published masks were drawn, where a pixel is `scale` pixels of level 0.

    Lines run through upper left corners; that of a piece is part of the mask, that around a hole, which runs through
    tissue, is not.
    """
    return _drawn(polygons, shape=shape, scale=scale, through=0.0, keeps_rims=False)


def covered(polygons: Iterable[Polygon], *, shape: tuple[int, int], scale: tuple[float, float], through: float) -> Mask:
    """The mask (h, w) that `outlines` made these polygons of, but for what it left out and filled."""
    return _drawn(polygons, shape=shape, scale=scale, through=through, keeps_rims=True)


def _drawn(
    polygons: Iterable[Polygon],
    *,
    shape: tuple[int, int],
    scale: tuple[float, float],
    through: float,
    keeps_rims: bool,
) -> Mask:
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        piece = np.zeros(shape, np.uint8)
        cv2.fillPoly(piece, [_at(polygon.outer, scale, through)], 1)
        for hole in polygon.holes:
            corners = _at(hole, scale, through)
            cv2.fillPoly(piece, [corners], 0)
            if keeps_rims:
                cv2.polylines(piece, [corners], isClosed=True, color=1)
        mask |= piece
    return mask.astype(bool)


def _at(corners: Points, scale: tuple[float, float], through: float) -> Points:
    found: Points = np.rint(corners / np.array(scale) - through).astype(np.int32)
    return found
