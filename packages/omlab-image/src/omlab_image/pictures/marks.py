"""Prompts in a picture, drawn as `omlab_payloads.pictures.marks` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from omlab_payloads.colours import Colour, default_colour
from omlab_payloads.pictures.legend import Key
from omlab_payloads.pictures.marks import SCALE, At, draw_click, draw_dashed, key_of_click


@dataclass(frozen=True, kw_only=True)
class Click:
    """A click in pixels of the picture."""

    at: At
    is_inside: bool
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The marks of all prompts in pixels of the picture; of boxes two corners and their colour."""

    clicks: Sequence[Click] = ()
    boxes: Sequence[tuple[At, At, Colour]] = ()

    def keys(self) -> list[Key]:
        """What the legend says of them."""
        kinds = [(True, "click inside"), (False, "click outside")]
        there = {click.is_inside for click in self.clicks}
        return [(key_of_click(is_inside=is_inside), words) for is_inside, words in kinds if is_inside in there]


def marks_of(prompts: Sequence[Any], *, shape: tuple[int, int], size: tuple[int, int]) -> Marks:
    """The marks of prompts in pixels of an image of `shape` (rows, columns) in a picture of `size` (width, height).

    Of payloads of kind `prompts` (those of omlab-prompts) the n-th object has the colour of label n. Prompts that are
    no pixels of such an image are left out.
    """
    ratio = np.array([size[0] / shape[1], size[1] / shape[0]])

    def place(at: Sequence[float]) -> At:
        x, y = ((np.array(at) + 0.5) * ratio).tolist()
        return x, y

    objects = [
        (entry, default_colour(number))
        for payload in prompts
        if payload.space == "pixel"
        for number, entry in enumerate(payload.objects, start=1)
    ]
    return Marks(
        clicks=[
            Click(at=place(point.at), is_inside=point.label == 1, colour=colour)
            for entry, colour in objects
            for point in entry.points
        ],
        boxes=[(place(box.near), place(box.far), colour) for entry, colour in objects for box in entry.boxes],
    )


def with_marks(canvas: Pillow.Image, marks: Marks) -> Pillow.Image:
    """A picture with the marks over it."""
    layer = Pillow.new("RGBA", (canvas.width * SCALE, canvas.height * SCALE))
    draw = ImageDraw.Draw(layer)
    for near, far, colour in marks.boxes:
        draw_dashed(draw, _scaled(near), _scaled(far), colour=colour)
    for click in marks.clicks:
        draw_click(draw, _scaled(click.at), is_inside=click.is_inside, colour=click.colour)
    marked = canvas.convert("RGBA")
    marked.alpha_composite(layer.reduce(SCALE))
    return marked.convert("RGB")


def _scaled(at: At) -> At:
    return at[0] * SCALE, at[1] * SCALE
