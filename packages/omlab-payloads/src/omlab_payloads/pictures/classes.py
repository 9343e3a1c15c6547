"""Classes in a picture: filled with their colours, or outlined; and where each is thickest: there its name goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from omlab_payloads.colours import Colour, default_colour

OUTLINE: Colour = (255, 255, 255)
"""Colour of the reference's outlines."""

_OPACITY = 0.3
_CASING = 0.35  # of the brightness beside the reference's outlines, so that they stand out on bright tissue
_INSIDE = 0.6  # of half a name's length: as far as an edge must be where the name is to hide nothing of it
_EXACT = 512  # pixels of a side, up to which every one is looked at to find where a class is thickest


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where a class is thickest in a picture, in pixels, and how far its edge is from there."""

    value: int
    x: float
    y: float
    depth: float

    def centres(self, half: tuple[float, float]) -> Iterator[tuple[float, float]]:
        """Where the middle of a name of twice that size may be, the best first: in a thick class, or beside."""
        aside, off = self.depth + half[0] + 2, self.depth + half[1] + 2
        if self.depth >= max(half[1], _INSIDE * half[0]):
            yield self.x, self.y
        yield self.x + aside, self.y
        yield self.x - aside, self.y
        yield self.x, self.y - off
        yield self.x, self.y + off


def painted(
    picture: NDArray[np.uint8], values: NDArray[Any], *, colours: Mapping[int, Colour] | None = None
) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with classes (H, W) filled with their colours, their edges in full; 0 is left as it is."""
    found, places = np.unique(values, return_inverse=True)
    known = colours or {}
    table = np.array([known.get(int(value)) or default_colour(int(value)) for value in found], np.float64)
    share = np.where(values > 0, np.where(edges(values), 1.0, _OPACITY), 0.0)[..., None]
    mixed = picture * (1 - share) + table[places.reshape(values.shape)] * share
    return np.asarray(np.rint(mixed), np.uint8)


def outlined(picture: NDArray[np.uint8], values: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with the outermost pixels of every class (H, W) in white, those beside them darkened."""
    line = edges(values) & (values > 0)
    casing = edges(line) & ~line
    drawn = picture.copy()
    drawn[casing] = np.rint(drawn[casing] * _CASING).astype(np.uint8)
    drawn[line] = OUTLINE
    return drawn


def edges(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that have another value than one beside, above or below them."""
    found = np.zeros(values.shape, bool)
    down, across = values[1:] != values[:-1], values[:, 1:] != values[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= across
    found[:, :-1] |= across
    return found


def by_area(values: NDArray[Any]) -> tuple[int, ...]:
    """The classes that occur, the largest first; never 0."""
    found, counts = np.unique(values, return_counts=True)
    return tuple(int(found[n]) for n in np.argsort(-counts, kind="stable") if found[n])


def spots(values: NDArray[Any]) -> tuple[Spot, ...]:
    """The spot of every class in a picture of classes (H, W), the largest class first; in large ones to some pixels."""
    step = max(1, -(-max(values.shape) // _EXACT))
    coarse = values[step // 2 :: step, step // 2 :: step]
    classes = by_area(coarse)
    if not classes:
        return ()
    framed = np.pad(coarse, 1)
    depth = ndimage.distance_transform_edt(~edges(framed))[1:-1, 1:-1]
    places = ndimage.maximum_position(depth, coarse, classes)
    return tuple(
        Spot(value=value, x=float(x * step + step // 2), y=float(y * step + step // 2), depth=float(depth[y, x] * step))
        for value, (y, x) in zip(classes, places, strict=True)
    )
