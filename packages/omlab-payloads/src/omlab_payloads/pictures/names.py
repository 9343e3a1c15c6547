"""Names in a picture, each where what it names is, so that no colour has to be looked up in a legend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import ImageDraw

from omlab_payloads.colours import Colour
from omlab_payloads.names import name_key
from omlab_payloads.pictures.classes import Spot
from omlab_payloads.pictures.words import INK, font, write

MOST = 12
"""Names in a picture, those of the largest classes first."""

LETTERS = 15
"""Pixels of a name's letters in a picture of usual size."""

_LONGEST = 22
_MARGIN = 3.0
_MARK = 14.0  # half the side of what a click takes, with its number
_TINT = 0.55  # how much white is in the colour of a name, so that it reads on its own class

Rectangle = tuple[float, float, float, float]


class Place(Protocol):
    """What has a name in a picture."""

    def centres(self, half: tuple[float, float]) -> Iterator[tuple[float, float]]:
        """Where the middle of a name of twice that width and height may be, the best first."""
        ...


@dataclass(frozen=True, kw_only=True)
class Name:
    """What is written, of what, and in which colour; white where only the reference has it."""

    words: str
    place: Place
    colour: Colour = INK
    is_of_target: bool = False


def names_of(
    spots: Sequence[Spot],
    target_spots: Sequence[Spot],
    *,
    names: Mapping[int, str],
    targets: Mapping[int, str],
    colours: Mapping[int, Colour],
) -> list[Name]:
    """The names of the classes in a picture: of the result, and in white those that the reference alone has there."""
    found = [Name(words=cut(names[s.value]), place=s, colour=tinted(colours.get(s.value, INK))) for s in spots]
    there = {name_key(names[spot.value]) for spot in spots}
    missed = [spot for spot in target_spots if name_key(targets[spot.value]) not in there]
    return [
        *found[:MOST],
        *(Name(words=cut(targets[spot.value]), place=spot, is_of_target=True) for spot in missed[:MOST]),
    ]


def draw_names(
    draw: ImageDraw.ImageDraw,
    names: Sequence[Name],
    *,
    size: tuple[int, int],
    taken: Sequence[Rectangle] = (),
    letters: int = LETTERS,
) -> list[Name]:
    """Write the names where there is room, never over each other or over what is `taken`; gives those written.

    `size` is the picture's (width, height).
    """
    used, written = list(taken), []
    for name in names:
        half = font(letters).getlength(name.words) / 2 + _MARGIN, letters / 2 + _MARGIN
        for x, y in name.place.centres(half):
            rectangle = (x - half[0], y - half[1], x + half[0], y + half[1])
            is_inside = min(rectangle) >= 0 and rectangle[2] <= size[0] and rectangle[3] <= size[1]
            if is_inside and not any(_overlap(rectangle, other) for other in used):
                write(draw, (x, y), name.words, size=letters, anchor="mm", colour=name.colour)
                used.append(rectangle)
                written.append(name)
                break
    return written


def told(shown: Iterable[str], names: Iterable[Name], *, is_outlined: bool, how: str = "Filled") -> str:
    """In words: what is shown, and how; and what the reference alone has where the names stand."""
    shown, alone = list(shown), dict.fromkeys(name.words for name in names if name.is_of_target)
    said = [
        f"{how}: {', '.join(shown)}." if shown else "",
        "White lines: the reference." if is_outlined else "",
        f"With a white name, where the result has none: {', '.join(alone)}." if alone else "",
    ]
    return " ".join(filter(None, said))


def around(at: tuple[float, float]) -> Rectangle:
    """What a mark at a place takes."""
    x, y = at
    return x - _MARK, y - _MARK, x + _MARK, y + _MARK


def tinted(colour: Colour) -> Colour:
    """A colour light enough to be read on itself."""
    red, green, blue = (round(part + (255 - part) * _TINT) for part in colour)
    return red, green, blue


def cut(words: str) -> str:
    """Words that are not longer than a name may be."""
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
