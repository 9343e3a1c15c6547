"""A picture of an image with what was found drawn over it: classes filled and edged, boxes, references, their names.

Names stand at what they name, as in pictures of volumes, and in the legend. What is shown is also said in words, in the
PNG's field for them (`Description`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from omlab.errors import GeometryError
from omlab_image.pictures.boxes import colours_of, names_of_boxes, with_boxes
from omlab_image.pictures.marks import marks_of, with_marks
from omlab_payloads.colours import Colour, default_colour
from omlab_payloads.pictures.classes import OUTLINE, outlined, painted, spots
from omlab_payloads.pictures.legend import Key, square, with_legend
from omlab_payloads.pictures.names import LETTERS, Name, Rectangle, around, draw_names, names_of, told
from omlab_payloads.pictures.words import as_png, font, letters_for, write

_SHORTEST, _LONGEST = 360, 1200  # pixels of the picture's longer side, which lies between them
_PERCENTILES = (0.5, 99.8)  # shown from black to white, of more than 8 bits
_LEGEND = 12  # names at most


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

    @property
    def title(self) -> str:
        """What its picture is headed with."""
        ...

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
    canvas = _canvas(image)
    result, reference = (None if flat is None else _enlarged(flat, canvas.size) for flat in (labelmap, target))
    marks = marks_of(prompts, shape=image.shape, size=canvas.size)
    shown = with_marks(_with_classes(canvas, result, reference), marks)
    known, referred = ({} if flat is None else flat.present() for flat in (labelmap, target))
    names = names_of(
        () if result is None else spots(result),
        () if reference is None else spots(reference),
        names=known,
        targets=referred,
        colours={value: default_colour(value) for value in known},
    )
    _write(shown, names, title=image.title, taken=[around(click.at) for click in marks.clicks])
    keys = [
        *_keys([(default_colour(value), name) for value, name in known.items()]),
        *_reference(is_there=target is not None),
        *marks.keys(),
    ]
    said = told(known.values(), names, is_outlined=target is not None)
    return _finished(shown, keys, title=image.title, said=said)


def picture_of_boxes(image: Imaged, boxes: Sequence[Any], *, references: Sequence[Any] = ()) -> bytes:
    """A PNG of `image` in true proportions with boxes in its pixels (`omlab_payloads.boxes.Box`) over it.

    Those of `references` are white.
    """
    canvas, colours = _canvas(image), colours_of(boxes)
    shown = with_boxes(canvas, boxes, references, colours=colours, shape=image.shape)
    names = names_of_boxes(boxes, references, colours=colours, shape=image.shape, size=canvas.size)
    _write(shown, names, title=image.title)
    labels = [(colour, label or "box") for label, colour in colours.items()]
    keys = [*_keys(labels), *_reference(is_there=bool(references))]
    found = (name.words for name in names if not name.is_of_target)
    said = told(found, names, is_outlined=bool(references), how="Boxes")
    return _finished(shown, keys, title=image.title, said=said)


def thumbnail(image: Imaged, *, size: int) -> bytes:
    """A PNG of `image` in true proportions, its longer side `size` pixels; a smaller image is not enlarged."""
    stream = io.BytesIO()
    small = Pillow.fromarray(_shown(image)).resize(_size(image, shortest=1, longest=size), Pillow.Resampling.LANCZOS)
    small.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _canvas(image: Imaged) -> Pillow.Image:
    return Pillow.fromarray(_shown(image)).convert("RGB").resize(_size(image), Pillow.Resampling.BICUBIC)


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


def _with_classes(
    canvas: Pillow.Image, result: NDArray[np.int64] | None, reference: NDArray[np.int64] | None
) -> Pillow.Image:
    pixels = np.array(canvas)
    if result is not None:
        pixels = painted(pixels, result)
    if reference is not None:
        pixels = outlined(pixels, reference)
    return Pillow.fromarray(pixels)


def _write(shown: Pillow.Image, names: Sequence[Name], *, title: str, taken: Sequence[Rectangle] = ()) -> None:
    """Write the title and the names into a picture that has room for words."""
    letters = letters_for(shown.size)
    if not letters:
        return
    draw = ImageDraw.Draw(shown)
    if title:
        write(draw, (6, 5), title, size=letters, anchor="lt")
        taken = [*taken, (0, 0, 12 + font(letters).getlength(title), 10 + letters)]
    draw_names(draw, names, size=shown.size, taken=taken, letters=letters)


def _keys(entries: Sequence[tuple[Colour, str]]) -> list[Key]:
    keys: list[Key] = [(square(fill=colour), words) for colour, words in entries[:_LEGEND]]
    more = len(entries) - _LEGEND
    return [*keys, (None, f"and {more} more")] if more > 0 else keys


def _reference(*, is_there: bool) -> list[Key]:
    return [(square(outline=OUTLINE), "reference")] if is_there else []


def _finished(shown: Pillow.Image, keys: Sequence[Key], *, title: str, said: str) -> bytes:
    whole = with_legend(shown, keys, letters=letters_for(shown.size) or LETTERS)
    return as_png(whole, said=f"{title}. {said}".strip() if title else said)
