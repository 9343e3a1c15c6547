"""A picture of an image with what was found drawn over it: classes filled and edged, boxes, references, a legend."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from scipy import ndimage  # type: ignore[import-untyped]

from omlab.errors import GeometryError
from omlab_image.pictures.boxes import colours_of, with_boxes
from omlab_image.pictures.marks import with_marks
from omlab_payloads.colours import default_colour

_SHORTEST, _LONGEST = 360, 1200  # pixels of the picture's longer side, which lies between them
_OPACITY = 0.3
_PERCENTILES = (0.5, 99.8)  # shown from black to white, of more than 8 bits
_OUTLINE = (255, 255, 255)
_CASING = 0.35  # of the brightness beside the reference's outlines, so that they stand out on bright tissue
_BACKGROUND, _INK = (14, 16, 20), (236, 238, 242)
_LEGEND = 8  # names at most
_LINE, _MARGIN, _FONT = 22, 8, 13

Key = tuple[tuple[int, int, int] | None, str]
"""An entry of the legend: the colour of its square (None: that of an outline) and its words."""


class Flat(Protocol):
    """Pixels: what images and label maps have in common."""

    @property
    def array(self) -> NDArray[Any]:
        """[H, W] or [H, W, 3]."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def spacing(self) -> tuple[float, float] | None:
        """Of the pixels in mm (rows, columns)."""
        ...

    def same_grid(self, other: Any) -> bool:
        """Whether `other` has the same pixels."""
        ...


class Imaged(Flat, Protocol):
    """What an `Image` is to those who only look at it."""

    def eight_bit(self) -> NDArray[np.uint8]:
        """The pixels as 8 bits."""
        ...

    def is_finite(self) -> bool:
        """Whether no pixel is NaN or infinite."""
        ...


class Labelled(Flat, Protocol):
    """What a `LabelMap2D` is to those who only look at it."""

    def present(self) -> Mapping[int, str]:
        """The classes that some pixel has, value to name."""
        ...


def picture(
    image: Imaged,
    labelmap: Labelled | None = None,
    *,
    target: Labelled | None = None,
    prompts: Sequence[Any] = (),
) -> bytes:
    """A PNG of `image` in true proportions with the label map over it and the target outlined in white.

    Of `prompts` (payloads of that kind) what is in pixels is marked.

    Raises `GeometryError` where a label map has other pixels than the image.
    """
    for flat, what in ((labelmap, "label map"), (target, "reference")):
        if flat is not None and not flat.same_grid(image):
            raise GeometryError(
                f"The {what} has {flat.shape[0]} x {flat.shape[1]} pixels, the image {image.shape[0]} x "
                f"{image.shape[1]}, or their spacing differs."
            )
    size = _size(image)
    canvas = np.array(Pillow.fromarray(_shown(image)).convert("RGB").resize(size, Pillow.Resampling.BICUBIC))
    if labelmap is not None:
        canvas = _painted(canvas, _enlarged(labelmap, size))
    if target is not None:
        canvas = _outlined(canvas, _enlarged(target, size))
    stream = io.BytesIO()
    shown = Pillow.fromarray(canvas)
    if prompts:
        shown = with_marks(shown, prompts, shape=image.shape)
    _with_legend(shown, _keys(labelmap, is_outlined=target is not None)).save(stream, "PNG")
    return stream.getvalue()


def picture_of_boxes(image: Imaged, boxes: Sequence[Any], *, references: Sequence[Any] = ()) -> bytes:
    """A PNG of `image` in true proportions with boxes in its pixels (`omlab_payloads.boxes.Box`) over it."""
    colours = colours_of(boxes)
    canvas = Pillow.fromarray(_shown(image)).convert("RGB").resize(_size(image), Pillow.Resampling.BICUBIC)
    shown = with_boxes(canvas, boxes, references, colours=colours, shape=image.shape)
    keys: list[Key] = [(colour, label or "box") for label, colour in list(colours.items())[:_LEGEND]]
    stream = io.BytesIO()
    _with_legend(shown, [*keys, *([(None, "reference")] if references else [])]).save(stream, "PNG")
    return stream.getvalue()


def thumbnail(image: Imaged, *, size: int) -> bytes:
    """A PNG of `image` in true proportions, its longer side `size` pixels; a smaller image is not enlarged."""
    stream = io.BytesIO()
    small = Pillow.fromarray(_shown(image)).resize(_size(image, shortest=1, longest=size), Pillow.Resampling.LANCZOS)
    small.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _size(image: Flat, *, shortest: int = _SHORTEST, longest: int = _LONGEST) -> tuple[int, int]:
    """Width and height of the picture: pixels are as high and broad as their spacing says."""
    row, column = image.spacing or (1.0, 1.0)
    height, width = image.shape[0] * row / min(row, column), image.shape[1] * column / min(row, column)
    longer = max(height, width)
    scale = min(max(longer, shortest), longest) / longer
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shown(image: Imaged) -> NDArray[np.uint8]:
    """8 bits; of more bits the values that most pixels have, from black to white."""
    if image.array.dtype == np.uint8 or not image.is_finite():
        return image.eight_bit()
    low, high = np.percentile(image.array, _PERCENTILES)
    if high <= low:
        return image.eight_bit()
    share = np.clip((image.array.astype(np.float64) - low) / (high - low), 0, 1)
    return np.asarray(np.rint(255 * share), np.uint8)


def _enlarged(labelmap: Flat, size: tuple[int, int]) -> NDArray[np.int64]:
    width, height = size
    rows = np.arange(height) * labelmap.shape[0] // height
    columns = np.arange(width) * labelmap.shape[1] // width
    return np.asarray(labelmap.array[rows[:, None], columns].astype(np.int64))


def _painted(canvas: NDArray[np.uint8], values: NDArray[np.int64]) -> NDArray[np.uint8]:
    found = np.unique(values)
    table = np.array([(0, 0, 0) if value == 0 else default_colour(int(value)) for value in found], np.float64)
    colours = table[np.searchsorted(found, values)]
    share = np.where(values > 0, np.where(_edges(values), 1.0, _OPACITY), 0.0)[..., None]
    return np.asarray(np.rint(canvas * (1 - share) + colours * share), np.uint8)


def _outlined(canvas: NDArray[np.uint8], values: NDArray[np.int64]) -> NDArray[np.uint8]:
    line = _edges(values) & (values > 0)
    beside: NDArray[np.bool_] = ndimage.binary_dilation(line) & ~line
    drawn = canvas.copy()
    drawn[beside] = np.rint(drawn[beside] * _CASING).astype(np.uint8)
    drawn[line] = _OUTLINE
    return drawn


def _edges(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels with a neighbour of another value."""
    edges = np.zeros(values.shape, bool)
    down, across = values[1:] != values[:-1], values[:, 1:] != values[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    return edges


def _keys(labelmap: Labelled | None, *, is_outlined: bool) -> list[Key]:
    keys: list[Key] = []
    if labelmap is not None:
        present = list(labelmap.present().items())
        keys = [(default_colour(value), name) for value, name in present[:_LEGEND]]
        if len(present) > _LEGEND:
            keys.append((_BACKGROUND, f"and {len(present) - _LEGEND} more"))
    return [*keys, (None, "reference")] if is_outlined else keys


def _with_legend(canvas: Pillow.Image, keys: Sequence[Key]) -> Pillow.Image:
    if not keys:
        return canvas
    letters = ImageFont.load_default(_FONT)
    rows, used = [[keys[0]]], _MARGIN + _width(keys[0], letters)
    for key in keys[1:]:
        wanted = _width(key, letters)
        if used + wanted > canvas.width:
            rows.append([])
            used = _MARGIN
        rows[-1].append(key)
        used += wanted
    whole = Pillow.new("RGB", (canvas.width, canvas.height + _LINE * len(rows) + _MARGIN), _BACKGROUND)
    whole.paste(canvas)
    draw = ImageDraw.Draw(whole)
    for number, row in enumerate(rows):
        x, y = float(_MARGIN), canvas.height + _MARGIN / 2 + _LINE * (number + 0.5)
        for colour, words in row:
            square = (x, y - 6, x + 12, y + 6)
            draw.rectangle(square, fill=colour, outline=_OUTLINE if colour is None else colour, width=2)
            draw.text((x + 18, y), words, font=letters, fill=_INK, anchor="lm")
            x += _width((colour, words), letters)
    return whole


def _width(key: Key, letters: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> float:
    return float(letters.getlength(key[1])) + 36
