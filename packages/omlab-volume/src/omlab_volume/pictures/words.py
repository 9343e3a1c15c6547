"""Words in pictures: legible on any tissue."""

from __future__ import annotations

from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]

BACKGROUND: Colour = (14, 16, 20)
INK: Colour = (236, 238, 242)
FAINT: Colour = (150, 156, 166)


def write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, *, size: int, anchor: str, colour: Colour = INK
) -> None:
    """Write `words` with a dark edge around each letter; `anchor` is Pillow's."""
    draw.text(
        at, words, font=font(size), fill=(*colour, 255), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0, 255)
    )


def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, so that pictures are the same everywhere."""
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)  # every wheel of Pillow has FreeType
    return found
