"""From Pillow's modes to arrays: what an image and a label map take of a picture that was decoded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from omlab.errors import InputError, OmlabWarning

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")
_TRANSPARENT = ("RGBA", "RGBa", "LA", "La", "PA")


def image_pixels(picture: Pillow.Image, *, path: Path) -> NDArray[Any]:
    """[H, W] or [H, W, 3], uint8, uint16 or float32.

    What is transparent is laid on black and warned about, as is CMYK, which is converted without its profile. Raises
    `InputError` for colours that cannot be converted, or whole numbers beyond 16 bits.
    """
    mode = picture.mode
    if mode in _GREY_16 or mode == "I":
        return _sixteen_bits(np.asarray(picture), path=path)
    if mode == "F":
        return _floats(np.asarray(picture), path=path)
    if mode in _TRANSPARENT or "transparency" in picture.info:
        picture = _on_black(picture, path=path)
    elif mode == "CMYK":
        _warn(f"{path} is in CMYK, as for print; it is converted to RGB without its colour profile.")
        picture = picture.convert("RGB")
    elif mode == "YCbCr":
        picture = picture.convert("RGB")
    elif mode == "1":
        picture = picture.convert("L")
    elif mode == "P":
        picture = _without_palette(picture)
    if picture.mode not in ("L", "RGB"):
        raise InputError(f"{path} has the colours '{mode}', which are not read: save it as RGB.")
    return np.array(picture)


def label_pixels(picture: Pillow.Image, *, path: Path) -> NDArray[Any]:
    """[H, W] of uint8 or uint16: the indices of a palette, or grey levels.

    Grey levels of black and white alone, in 8 bits, are 0 and 1. Raises `InputError` for colours,
    fractions, and numbers below 0 or beyond 16 bits.
    """
    mode = picture.mode
    array = np.asarray(picture)
    if mode == "1":
        return array.astype(np.uint8)
    if mode in ("P", "PA"):
        return np.array(array if mode == "P" else array[..., 0])
    if mode in _GREY_16 or mode == "I":
        return _sixteen_bits(array, path=path)
    if mode == "F":
        if not np.isfinite(array).all() or (array != np.rint(array)).any():
            raise InputError(f"{path} holds fractions, but a label map has a whole number in every pixel.")
        return _sixteen_bits(array, path=path)
    if mode in ("RGB", "RGBA", "LA"):
        colours = array[..., : 3 if mode != "LA" else 1]
        if (colours != colours[..., :1]).any():
            raise InputError(
                f"{path} is a picture in colour, but a label map has one number for each pixel: save it in grey or "
                "with a palette."
            )
        array = colours[..., 0]
    elif mode != "L":
        raise InputError(f"{path} has the colours '{mode}', but a label map is saved in grey or with a palette.")
    if array.max() == 255 and not ((array > 0) & (array < 255)).any():
        return np.asarray(array // 255)
    return np.array(array)


def _sixteen_bits(array: NDArray[Any], *, path: Path) -> NDArray[np.uint16]:
    low, high = array.min(), array.max()
    if low < 0 or high > 65535:
        raise InputError(f"{path} has values from {low:g} to {high:g}, but 0 to 65535 are read: scale it to 16 bits.")
    return array.astype(np.uint16)


def _floats(array: NDArray[Any], *, path: Path) -> NDArray[np.float32]:
    values = array.astype(np.float32)
    if (bad := int(np.count_nonzero(~np.isfinite(values)))) > 0:
        _warn(f"{path}: {bad:,} of {values.size:,} pixels are NaN or infinite.")
    elif values.min() < 0 or values.max() > 1:
        _warn(f"{path}: its values go from {values.min():g} to {values.max():g}, but black is 0 and white 1.")
    return values


def _on_black(picture: Pillow.Image, *, path: Path) -> Pillow.Image:
    """Without its alpha: each pixel mixed with black as far as it is transparent."""
    is_grey = picture.mode in ("L", "LA", "La") or (picture.mode == "P" and _is_grey(picture))
    whole = picture.convert("RGBA")
    alpha = whole.getchannel("A")
    if alpha.getextrema() != (255, 255):
        _warn(f"{path} is transparent in places, which are laid on black.")
        whole = Pillow.alpha_composite(Pillow.new("RGBA", whole.size, (0, 0, 0, 255)), whole)
    return whole.convert("RGB").getchannel("R") if is_grey else whole.convert("RGB")


def _without_palette(picture: Pillow.Image) -> Pillow.Image:
    """Grey where the palette is, else in colour."""
    colours = picture.convert("RGB")
    return colours.getchannel("R") if _is_grey(picture) else colours


def _is_grey(picture: Pillow.Image) -> bool:
    palette = picture.getpalette("RGB") or []
    return palette[0::3] == palette[1::3] == palette[2::3]


def _warn(sentence: str) -> None:
    warnings.warn(sentence, OmlabWarning, stacklevel=5)
