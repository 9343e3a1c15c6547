"""PNG from an RGB array, and what a PNG says of itself, with the standard library alone (ISO/IEC 15948)."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP_FILTER = 2
_DESCRIPTION = b"Description\0"


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file of `rgb`, (H, W, 3) of uint8. The same array always gives the same bytes."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise ValueError(f"A picture is (H, W, 3) of uint8, not {rgb.shape} of {rgb.dtype}.")
    height, width, _ = rgb.shape
    lines = rgb.reshape(height, width * 3)
    filtered = np.empty((height, width * 3 + 1), dtype=np.uint8)
    filtered[:, 0] = _UP_FILTER
    filtered[0, 1:] = lines[0]
    # Differences to the line above compress medical pictures well; uint8 wraps round as the filter wants.
    np.subtract(lines[1:], lines[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        _SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6))
        + _chunk(b"IEND", b"")
    )


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG in pixels; zeros of another file."""
    if not content.startswith(_SIGNATURE) or len(content) < len(_SIGNATURE) + 16:
        return 0, 0
    width, height = struct.unpack_from(">II", content, len(_SIGNATURE) + 8)
    return int(width), int(height)


def described(png: bytes) -> str:
    """What a PNG says of itself in words: its `Description`, an international text; empty where it has none."""
    at = len(_SIGNATURE)
    while png.startswith(_SIGNATURE) and at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind == b"iTXt" and content.startswith(_DESCRIPTION):
            is_packed, text = content[len(_DESCRIPTION)], content[len(_DESCRIPTION) + 2 :].split(b"\0", 2)[-1]
            return (zlib.decompress(text) if is_packed else text).decode("utf-8")
        at += 12 + length
    return ""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
