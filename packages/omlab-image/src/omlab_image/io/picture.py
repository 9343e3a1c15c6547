"""The formats `png` and `picture`: PNG, JPEG, TIFF, BMP and WebP through Pillow.

    image = Picture().read(Path("fundus.jpg"), kind="image")
    Picture().write(labelmap, Path("vessels.png"), inputs={})

A file is what its first bytes say, whatever it is called. Pictures are turned upright as their EXIF entry says; a
transparent one is laid on black, the surround of medical pictures. Colour profiles are not applied, as by those who
trained the published models. The density (dpi) in a header, which cameras make up, is no spacing: only PNG files of
ours carry one, with names and bit depth, as the text `omlab` (JSON).
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps
from PIL.PngImagePlugin import PngInfo

from omlab.errors import InputError, OmlabWarning, OutputError, one_line
from omlab.files import writing
from omlab.payloads import Inputs, Payload
from omlab_image.image import HIGHEST_LABEL, Image, LabelMap2D, Source, Spacing
from omlab_image.io.pixels import image_pixels, label_pixels
from omlab_image.io.quiet import quiet
from omlab_payloads.colours import default_colour

MOST_PIXELS = 1 << 27
"""Of more, a file is refused before memory is taken: it is a slide, or made to do harm."""
TEXT = "omlab"
"""Name of the PNG text in which ours carry what pixels do not say."""

# Opened by their classes: Image.open() warns of large pictures through the process's one filter of warnings.
_CLASSES = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
}
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
)


class Picture:
    """Reads and writes images and label maps of two dimensions."""

    def read(self, path: Path, *, kind: str) -> Image | LabelMap2D:
        """Read `path` as an `image` or a `labelmap-2d`.

        An image is [H, W] or [H, W, 3]: uint8, or uint16 of a grey picture with more bits, or float32. The values of a
        label map are the indices of a palette or the grey levels; black and white alone are 0 and 1.

        Raises `InputError`. Warns of further pages, transparency, CMYK, colours reduced to 8 bits, floats beyond white.
        """
        if kind not in (Image.kind, LabelMap2D.kind):
            raise InputError(f"{path}: a picture holds an image or a labelmap-2d, not a '{kind}'.")
        form = form_of(path)
        if kind == LabelMap2D.kind and form == "JPEG":
            raise InputError(f"{path} is a JPEG file, whose compression changes values: save the label map as PNG.")
        picture, text = _decoded(path, form)
        source = Source(format="png" if form == "PNG" else "picture", path=path)
        said = _said(text, path=path)
        if kind == LabelMap2D.kind:
            return LabelMap2D(
                array=label_pixels(picture, path=path), names=said.names, spacing=said.spacing, source=source
            )
        array = image_pixels(picture, path=path)
        depth = said.bit_depth if said.bit_depth <= 8 * array.dtype.itemsize and array.dtype.kind == "u" else 0
        return Image(array=array, spacing=said.spacing, bit_depth=depth, source=source)

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a PNG file: an image, or a label map with a palette (up to the value 255) and its names.

        Floats are written as 16 bits where they are grey, as 8 bits where they are colours. Raises `OutputError`.
        """
        if path.suffix.lower() != ".png":
            raise OutputError(f"{path}: pictures are written as PNG, which loses nothing: name it .png.")
        said: dict[str, Any] = {}
        if isinstance(payload, LabelMap2D):
            picture = _paletted(payload)
            said["names"] = {str(value): name for value, name in payload.names.items()}
        elif isinstance(payload, Image):
            picture = _storable(payload, path=path)
            if payload.bit_depth not in (8, 16) and payload.array.dtype == np.uint16:
                said["bit_depth"] = payload.bit_depth
        else:
            raise OutputError(f"{path}: a picture holds an image or a labelmap-2d, not a '{payload.kind}'.")
        if payload.spacing is not None:
            said["spacing"] = list(payload.spacing)
        information = PngInfo()
        if said:
            information.add_itxt(TEXT, json.dumps(said))
        try:
            with writing(path.name, path.parent):
                picture.save(path, "PNG", pnginfo=information)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def form_of(path: Path) -> str:
    """What the first bytes of a file say that it is. Raises `InputError` where it is none of ours, or not there."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, but one picture is expected here: name the file.")
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read by this user: change its access rights.")
    with path.open("rb") as stream:
        start = stream.read(12)
    if not start:
        raise InputError(f"{path} is empty (0 bytes): copy or export it again.")
    form = next((form for beginning, form in _BEGINNINGS if start.startswith(beginning)), "")
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        form = "WebP"
    if not form:
        raise InputError(f"{path} is no {', '.join([*_CLASSES][:-1])} or {[*_CLASSES][-1]} file, or it is damaged.")
    return form


def _decoded(path: Path, form: str) -> tuple[Pillow.Image, str]:
    """The picture, upright, and what ours says in its text."""
    module, name = _CLASSES[form]
    try:
        with quiet(), path.open("rb") as stream:
            picture: Any = getattr(import_module(module), name)(stream)
            _check_size(picture, path=path)
            pages = int(getattr(picture, "n_frames", 1))
            picture.load()
            text = str(picture.text.get(TEXT, "")) if form == "PNG" else ""
            is_reduced = _is_reduced(picture, form, stream)
            upright = ImageOps.exif_transpose(picture)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} is too large for this machine's memory.") from error
    except Exception as error:  # a damaged file makes the decoders fail in as many ways as there are damages
        raise InputError(f"{path} is damaged or cut short ({one_line(error)}): copy or export it again.") from error
    if pages > 1:
        _warn(f"{path} holds {pages} pages or frames; the first is read.")
    if is_reduced:
        _warn(f"{path}: its colours of 16 bits are read as 8 bits.")
    return upright, text


def _check_size(picture: Pillow.Image, *, path: Path) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{path} has {width:,} x {height:,} pixels, more than {MOST_PIXELS:,}: cut out a part, or read it as a "
            "slide."
        )


def _is_reduced(picture: Any, form: str, stream: Any) -> bool:
    """Whether Pillow has taken away bits of the colours."""
    if picture.mode not in ("RGB", "RGBA", "LA"):
        return False
    if form == "PNG":
        stream.seek(24)  # the bit depth in the first chunk
        return bool(stream.read(1) == b"\x10")
    return form == "TIFF" and max(picture.tag_v2.get(258, (8,))) > 8


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What the text of a PNG file of ours says; nothing where it is another's."""

    names: Mapping[int, str] = field(default_factory=dict)
    spacing: Spacing | None = None
    bit_depth: int = 0


def _said(text: str, *, path: Path) -> _Said:
    try:
        found = json.loads(text) if text else {}
        names = {int(value): str(name) for value, name in found.get("names", {}).items()}
        spacing = found.get("spacing")
        if spacing is not None:
            row, column = (float(one) for one in spacing)
            spacing = (row, column) if row > 0 and column > 0 else None
        return _Said(names=names, spacing=spacing, bit_depth=max(0, int(found.get("bit_depth", 0))))
    except (ValueError, TypeError, AttributeError, RecursionError):
        _warn(f"{path}: what it says of its names and spacing is damaged and left out.")
        return _Said()


def _paletted(labelmap: LabelMap2D) -> Pillow.Image:
    highest = int(labelmap.array.max())
    if highest > HIGHEST_LABEL:
        raise OutputError(f"A label map is written with values up to {HIGHEST_LABEL}, but this one has {highest}.")
    if highest > 255:
        return Pillow.fromarray(labelmap.array.astype(np.uint16))
    picture = Pillow.fromarray(labelmap.array.astype(np.uint8))
    colours = [(0, 0, 0), *(default_colour(value) for value in range(1, 256))]
    picture.putpalette([part for colour in colours for part in colour])
    return picture


def _storable(image: Image, *, path: Path) -> Pillow.Image:
    array: NDArray[Any] = image.array
    if array.dtype.kind == "f" and image.is_grey:
        return Pillow.fromarray(np.rint(np.nan_to_num(image.unit(), nan=0.0) * 65535).astype(np.uint16))
    if array.ndim == 3 and array.dtype != np.uint8:
        if array.dtype == np.uint16:
            _warn(f"{path.name}: colours of {image.bit_depth} bits are written as 8 bits.")
        return Pillow.fromarray(image.eight_bit())
    return Pillow.fromarray(array)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, OmlabWarning, stacklevel=4)
