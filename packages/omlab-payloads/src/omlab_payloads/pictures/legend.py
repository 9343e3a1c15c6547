"""The legend below a picture: a mark and words for each entry, in as many rows as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from omlab_payloads.pictures.words import BACKGROUND, INK, font

LETTERS = 16
"""Pixels of a legend's letters: pages show pictures at about two thirds."""

_MARGIN, _GAP, _LEADING = 10, 24, 10

Key = tuple[Image.Image | None, str]
"""An entry of the legend: its mark of 16 x 16 pixels, and its words."""


def square(**colours: Any) -> Image.Image:
    """The mark of a class: a square with `fill` and `outline` as Pillow takes them."""
    key = Image.new("RGBA", (16, 16))
    ImageDraw.Draw(key).rounded_rectangle((1, 2, 13, 14), radius=2, width=2, **colours)
    return key


def with_legend(canvas: Image.Image, keys: Sequence[Key], *, letters: int = LETTERS) -> Image.Image:
    """The picture with its legend below it; as it is where there are no entries."""
    if not keys:
        return canvas
    line, side = letters + _LEADING, letters
    rows: list[list[Key]] = [[]]
    used = 0.0
    for key in keys:
        wanted = _width(key, letters)
        if rows[-1] and used + wanted > canvas.width - _MARGIN:
            rows.append([])
            used = 0
        rows[-1].append(key)
        used += wanted
    whole = Image.new("RGB", (canvas.width, canvas.height + line * len(rows) + _LEADING), BACKGROUND)
    whole.paste(canvas)
    draw = ImageDraw.Draw(whole)
    for number, row in enumerate(rows):
        x, y = float(_MARGIN), canvas.height + _LEADING / 2 + line * (number + 0.5)
        for mark, words in row:
            start = x
            if mark is not None:
                scaled = mark.resize((side, side), Image.Resampling.LANCZOS)
                whole.paste(scaled, (round(x), round(y - side / 2)), scaled)
                start += side + 4
            draw.text((start, y), words, font=font(letters), fill=INK, anchor="lm")
            x += _width((mark, words), letters)
    return whole


def _width(key: Key, letters: int) -> float:
    mark, words = key
    return font(letters).getlength(words) + _GAP + (0 if mark is None else letters + 4)
