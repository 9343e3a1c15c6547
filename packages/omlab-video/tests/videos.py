"""Small videos that tests make with PyAV: frame n is grey of 8 + 10 n, with a white corner at the top left."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 48, 64


def frame(number: int) -> NDArray[np.uint8]:
    pixels = np.full((ROWS, COLUMNS, 3), 8 + 10 * number, np.uint8)
    pixels[:16, :16] = 250
    return pixels


def write(
    path: Path,
    *,
    milliseconds: Sequence[int] = tuple(range(0, 800, 40)),
    pix_fmt: str = "yuv420p",
    every: int = 5,
    options: dict[str, str] | None = None,
) -> Path:
    """A video of frames at these times, with a key frame every so many."""
    unit = Fraction(1, 1000)
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = COLUMNS, ROWS, pix_fmt
        stream.codec_context.time_base = stream.time_base = unit
        stream.codec_context.gop_size = every
        stream.options = {"bf": "2", "preset": "veryfast", "x264-params": "log-level=error"}
        for number, time in enumerate(milliseconds):
            picture = av.VideoFrame.from_ndarray(frame(number), format="rgb24")
            picture.pts, picture.time_base = time, unit
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def turned(path: Path) -> Path:
    """The mp4 file with another matrix in its track header: to be shown turned clockwise by a quarter."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 36 + 4
    one = 1 << 16
    for place, value in enumerate((0, one, 0, -one, 0, 0)):
        data[at - 4 + 4 * place : at + 4 * place] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(bytes(data))
    return path
