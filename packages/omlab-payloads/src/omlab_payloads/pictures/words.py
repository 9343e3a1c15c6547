"""Words in pictures: legible on any tissue."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from omlab_payloads.colours import Colour

BACKGROUND: Colour = (14, 16, 20)
INK: Colour = (236, 238, 242)
FAINT: Colour = (150, 156, 166)

_LEAST_LETTERS, _PER_LETTER = 15, 40  # pixels of a letter's height, and of a picture's longer side for one of them
_LEAST_SIDE = 90


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


def letters_for(size: tuple[int, int]) -> int:
    """The height of letters in a picture of (width, height) that may be shown smaller than it is; 0: it has no room."""
    return max(_LEAST_LETTERS, round(max(size) / _PER_LETTER)) if min(size) >= _LEAST_SIDE else 0


def as_png(picture: Image.Image, *, said: str) -> bytes:
    """The picture as a PNG that says in words what it shows, in the field that PNG has for them (`Description`)."""
    fields = PngInfo()
    if said:
        fields.add_itxt("Description", said)
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=fields)
    return stream.getvalue()
