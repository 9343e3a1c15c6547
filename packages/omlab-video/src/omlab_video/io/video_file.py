"""The formats `video`, which reads mp4, mov, mkv, webm and their like, and `overlay-video`, which writes mp4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
import numpy as np

from omlab.errors import InputError, OutputError
from omlab.files import writing
from omlab.payloads import Payload
from omlab_video.clip import Clip, Frame
from omlab_video.io.decoding import read_video
from omlab_video.over_time import LabelMapClip, lies_on

_UNIT = Fraction(1, 90_000)
"""Of the times that are written: seconds."""


class VideoFile:
    """Reads clips, lazily."""

    def read(self, path: Path, *, kind: str) -> Clip:
        """The clip of a video file (`omlab_video.io.decoding.read_video`). Raises `InputError`."""
        if kind != Clip.kind:
            raise InputError(f"{path}: a video holds a clip, not a '{kind}'.")
        return read_video(path)


class OverlayVideo:
    """Writes masks over the clip that they lie on."""

    def write(self, payload: Payload, path: Path, *, inputs: Mapping[str, Payload] = MappingProxyType({})) -> None:
        """Write the clip among `inputs` with the masks in colour over it.

        Sides of an odd number of pixels lose the last one, which H.264 cannot hold. Raises `OutputError`.
        """
        if not isinstance(payload, LabelMapClip):
            raise OutputError(f"{path}: a video shows a {LabelMapClip.kind} over its clip, not a '{payload.kind}'.")
        clip = lies_on(payload, inputs)
        try:
            with writing(path.name, path.parent):
                write_video(path, payload.drawn(clip), times=clip.times.tolist())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def write_video(path: Path, frames: Iterator[Frame], *, times: list[float]) -> None:
    """Encode frames (H, W, 3) as H.264, each shown at its time in seconds. Raises `OutputError`."""
    first = next(frames)
    rows, columns = (side - side % 2 for side in first.shape[:2])
    if not rows or not columns:
        raise OutputError(f"{path}: frames of one row or column cannot be written as a video.")
    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=30, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
        stream.codec_context.time_base = stream.time_base = _UNIT
        for pixels, time in zip(chain([first], frames), times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:rows, :columns]), format="rgb24")
            frame.pts, frame.time_base = round(time / _UNIT), _UNIT
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
