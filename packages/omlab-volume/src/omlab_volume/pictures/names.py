"""Names of classes in a plane, each where its class is thickest, so that no colour has to be looked up in a legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from omlab_payloads.names import name_key
from omlab_volume.labels import Label
from omlab_volume.pictures.planes import Panel, Spot
from omlab_volume.pictures.words import INK, Colour, font, write

MOST = 12
"""Names in a plane, those of the largest classes first."""

_SIZE, _LONGEST = 15, 22
_INSIDE = 0.6  # of half a name's length: as far as an edge must be where the name is to hide nothing of it
_MARGIN = 3.0
_MARK = 14.0  # half the side of what a click takes, with its number
_TINT = 0.55  # how much white is in the colour of a name, so that it reads on its own class

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Name:
    """What is written of a class, where, and in which colour; white where only the reference has it."""

    words: str
    spot: Spot
    colour: Colour = INK
    is_of_target: bool = False


def names_in(panel: Panel, labels: Sequence[Label], targets: Sequence[Label]) -> list[Name]:
    """The names of the classes in a plane: of the result, and in white those that the reference alone has there."""
    known, referred = ({label.value: label for label in some} for some in (labels, targets))
    found = [Name(words=_cut(known[s.value].name), spot=s, colour=_tinted(known[s.value].colour)) for s in panel.spots]
    there = {name_key(known[spot.value].name) for spot in panel.spots}
    missed = [spot for spot in panel.target_spots if name_key(referred[spot.value].name) not in there]
    return [
        *found[:MOST],
        *(Name(words=_cut(referred[s.value].name), spot=s, is_of_target=True) for s in missed[:MOST]),
    ]


def draw_names(
    draw: ImageDraw.ImageDraw, panel: Panel, names: Sequence[Name], *, taken: Sequence[Rectangle]
) -> list[Name]:
    """Write the names where there is room, never over each other or over what is `taken`; gives those written."""
    height, width = panel.picture.shape[:2]
    used, written = list(taken), []
    for name in names:
        for rectangle in _places(name):
            left, top, right, bottom = rectangle
            is_inside = left >= 0 and top >= 0 and right <= width and bottom <= height
            if is_inside and not any(_overlap(rectangle, other) for other in used):
                at = ((left + right) / 2, (top + bottom) / 2)
                write(draw, at, name.words, size=_SIZE, anchor="mm", colour=name.colour)
                used.append(rectangle)
                written.append(name)
                break
    return written


def around(at: tuple[float, float]) -> Rectangle:
    """What a mark at a place takes."""
    x, y = at
    return x - _MARK, y - _MARK, x + _MARK, y + _MARK


def _places(name: Name) -> Iterator[Rectangle]:
    """Where a name may stand, the best first: in its class where that is thick, else beside, above or below it."""
    half = font(_SIZE).getlength(name.words) / 2 + _MARGIN, _SIZE / 2 + _MARGIN
    x, y, depth = name.spot.x, name.spot.y, name.spot.depth
    aside, off = depth + half[0] + 2, depth + half[1] + 2
    shifts = [(aside, 0.0), (-aside, 0.0), (0.0, -off), (0.0, off)]
    if depth >= max(half[1], _INSIDE * half[0]):
        shifts.insert(0, (0.0, 0.0))
    for right, down in shifts:
        yield x + right - half[0], y + down - half[1], x + right + half[0], y + down + half[1]


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _tinted(colour: Colour | None) -> Colour:
    red, green, blue = (round(part + (255 - part) * _TINT) for part in colour or INK)
    return red, green, blue


def _cut(words: str) -> str:
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
