"""Boxes in a picture: found ones in the colour of their class, with its name and their score, references in white."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from omlab_payloads.colours import Colour, default_colour
from omlab_payloads.names import name_key
from omlab_payloads.pictures.classes import OUTLINE
from omlab_payloads.pictures.names import Name, cut, tinted
from omlab_payloads.pictures.words import BACKGROUND

_LINE = 2


@dataclass(frozen=True, kw_only=True)
class Corners:
    """Where a box lies in a picture."""

    left: float
    top: float
    right: float
    bottom: float

    def centres(self, half: tuple[float, float]) -> Iterator[tuple[float, float]]:
        """Where the middle of a name of twice that size may be: above the box, below it, in it."""
        away = half[1] + _LINE
        for y in (self.top - away, self.bottom + away, self.top + away):
            yield self.left + half[0], y
            yield self.right - half[0], y


def colours_of(boxes: Sequence[Any]) -> dict[str, Colour]:
    """A colour for each label of some boxes, in alphabetical order."""
    return {label: default_colour(number) for number, label in enumerate(sorted({box.label for box in boxes}), start=1)}


def with_boxes(
    canvas: Pillow.Image,
    boxes: Sequence[Any],
    references: Sequence[Any],
    *,
    colours: Mapping[str, Colour],
    shape: tuple[int, int],
) -> Pillow.Image:
    """A picture of an image of `shape` (rows, columns) with boxes in its pixels; the surest found one is on top."""
    marked = canvas.convert("RGB")
    draw = ImageDraw.Draw(marked)
    for box in references:
        _draw(draw, _corners(box, shape=shape, size=canvas.size), OUTLINE)
    for box in reversed(_surest_first(boxes)):
        _draw(draw, _corners(box, shape=shape, size=canvas.size), colours[box.label])
    return marked


def names_of_boxes(
    boxes: Sequence[Any],
    references: Sequence[Any],
    *,
    colours: Mapping[str, Colour],
    shape: tuple[int, int],
    size: tuple[int, int],
) -> list[Name]:
    """Label and score of each found box, the surest first; in white the labels that the references alone have."""
    found = [
        Name(words=words, place=_corners(box, shape=shape, size=size), colour=tinted(colours[box.label]))
        for box in _surest_first(boxes)
        if (words := _words(box))
    ]
    there = {name_key(box.label) for box in boxes}
    missed = [box for box in references if box.label and name_key(box.label) not in there]
    return [
        *found,
        *(Name(words=cut(b.label), place=_corners(b, shape=shape, size=size), is_of_target=True) for b in missed),
    ]


def _surest_first(boxes: Sequence[Any]) -> list[Any]:
    return sorted(boxes, key=lambda box: -(box.score or 0.0))


def _words(box: Any) -> str:
    score = "" if box.score is None else f"{box.score:.2f}"
    return f"{cut(box.label)} {score}".strip()


def _corners(box: Any, *, shape: tuple[int, int], size: tuple[int, int]) -> Corners:
    ratio = np.array([size[0] / shape[1], size[1] / shape[0]])
    near, far = ((np.array(at) + 0.5) * ratio for at in (box.near, box.far))
    left, top = (float(end) for end in near)
    right, bottom = (float(end) for end in np.maximum(near, far - 1))
    return Corners(left=left, top=top, right=right, bottom=bottom)


def _draw(draw: ImageDraw.ImageDraw, box: Corners, colour: Colour) -> None:
    """A line on a dark one."""
    corners = (box.left, box.top, box.right, box.bottom)
    casing = (box.left - 1, box.top - 1, box.right + 1, box.bottom + 1)
    draw.rectangle(casing, outline=BACKGROUND, width=_LINE + 2)
    draw.rectangle(corners, outline=colour, width=_LINE)
