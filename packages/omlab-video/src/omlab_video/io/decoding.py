"""Frames of a video file through PyAV (FFmpeg): found by time, decoded from the key frame before them."""

from __future__ import annotations

import bisect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from omlab.errors import InputError, OmlabWarning
from omlab_video.clip import Clip, Frame


@dataclass(frozen=True, kw_only=True)
class VideoFrames:
    """The frames of a video file, which is opened anew for each reading: picklable, and for any thread.

    Attributes:
        path: The file.
        stamps: Presentation times in the stream's units, rising.
        keys: Those of them that are key frames.
        size: Rows and columns of a frame, upright.
    """

    path: Path
    stamps: Sequence[int]
    keys: Sequence[int]
    size: tuple[int, int]
    nbytes: int = field(default=0)

    def stream(self, indices: Sequence[int]) -> Iterator[Frame]:
        """The frames of rising indices; the decoder jumps only where a key frame lies between two of them."""
        with ExitStack() as files:
            container, stream = files.enter_context(opened(self.path, threads="AUTO"))
            decoded: Iterator[Any] = iter(())
            colours = VideoReformatter()  # one for all frames: it keeps its tables
            at, pixels = None, None  # the time of the frame that was decoded last, and that frame upright
            for index in indices:
                wanted = self.stamps[index]
                frame = None
                if at is None or (at < wanted and self._key_before(wanted) > at):
                    container.seek(self._key_before(wanted), stream=stream, backward=True)
                    decoded = whole_frames(container, stream)
                    frame = self._until(decoded, wanted, index=index)
                    if frame.pts > wanted:  # containers without an index may jump too far: from the start then
                        container, stream = files.enter_context(opened(self.path, threads="AUTO"))
                        decoded, frame = whole_frames(container, stream), None
                if at != wanted:
                    frame = self._until(decoded, wanted, index=index) if frame is None else frame
                    if frame.pts > wanted:
                        raise _damaged(self.path, index, len(self.stamps), "it is left out")
                    at, pixels = wanted, self._upright(frame, colours, index=index)
                assert pixels is not None
                yield pixels

    def _key_before(self, stamp: int) -> int:
        return self.keys[max(0, bisect.bisect_right(self.keys, stamp) - 1)]

    def _until(self, decoded: Iterator[Any], wanted: int, *, index: int) -> Any:
        """The first frame that is not before `wanted`."""
        try:
            for frame in decoded:
                if frame.pts is not None and frame.pts >= wanted:
                    return frame
        except av.FFmpegError as error:
            raise _damaged(self.path, index, len(self.stamps), _said(error)) from error
        raise _damaged(self.path, index, len(self.stamps), "the file ends before it")

    def _upright(self, frame: Any, colours: VideoReformatter, *, index: int) -> Frame:
        pixels = upright(frame, colours)
        if pixels.shape[:2] != self.size:
            raise InputError(
                f"{self.path}: frame {index} has {pixels.shape[0]} x {pixels.shape[1]} pixels, the first one "
                f"{self.size[0]} x {self.size[1]}: a clip has frames of one size."
            )
        return pixels


def whole_frames(container: Any, stream: Any) -> Iterator[Any]:
    """The frames in the order in which they are shown; of a packet that is cut off none is tried.

    It would end the decoder before the frames that it still holds.
    """
    for packet in container.demux(stream):
        if not packet.is_corrupt:
            yield from packet.decode()


def upright(frame: Any, colours: VideoReformatter) -> Frame:
    """The pixels of a frame as RGB of 8 bits, turned as the file says it is to be shown."""
    pixels: Frame = np.asarray(colours.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def read_video(path: Path) -> Clip:
    """The clip of a video file; only its index and its first frame are read.

    Raises `InputError` where the file is empty, no video, or has no frame. Warns of more than 8 bits and of a file
    that is cut short.
    """
    _check_file(path)
    with opened(path) as (container, stream):
        stamps, keys = _index(container, stream, path=path)
        unit: Fraction = stream.time_base
    times = np.array([float((stamp - stamps[0]) * unit) for stamp in stamps])
    with opened(path) as (container, stream):
        try:
            first = next(whole_frames(container, stream), None)
        except av.FFmpegError as error:
            raise InputError(f"{path} is damaged: its first frame cannot be decoded ({_said(error)}).") from error
        if first is None:
            raise InputError(f"{path} has a video stream without frames: export it again.")
        deep = max((part.bits for part in first.format.components), default=8)
        rows, columns = upright(first, VideoReformatter()).shape[:2]
        stamps = [stamp for stamp in stamps if stamp >= (first.pts or 0)]
    if deep > 8:
        warnings.warn(f"{path}: its colours of {deep} bits are read as 8 bits.", OmlabWarning, stacklevel=2)
    frames = VideoFrames(path=path, stamps=tuple(stamps), keys=tuple(keys), size=(rows, columns), nbytes=16 * len(keys))
    return Clip(frames=frames, times=times[len(times) - len(stamps) :], name=str(path))


@contextmanager
def opened(path: Path, *, threads: str = "SLICE") -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream; with the threads "AUTO" many frames are decoded at once.

    Raises `InputError`.
    """
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path} is no video, or it is damaged or cut short ({_said(error)}).") from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path} holds no video, only {_others(container)}.")
        stream = container.streams.video[0]
        stream.thread_type = threads
        yield container, stream


def _index(container: Any, stream: Any, *, path: Path) -> tuple[list[int], list[int]]:
    """The times of all frames and of the key frames, without decoding: from the packets."""
    stamps: set[int] = set()
    keys: set[int] = set()
    broken = ""
    try:
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None:
                raise InputError(f"{path}: its frames have no times: put it into a container such as mp4 or mkv.")
            if packet.is_corrupt:
                broken = "the last frame is a part"
                continue
            stamps.add(stamp)
            if packet.is_keyframe:
                keys.add(stamp)
    except av.FFmpegError as error:
        broken = _said(error)
    if not stamps:
        reason = f" ({broken})" if broken else ""
        raise InputError(f"{path} has a video stream without frames{reason}: export it again.")
    if broken:
        warnings.warn(f"{path} is cut short ({broken}): {len(stamps)} frames are read.", OmlabWarning, stacklevel=3)
    return sorted(stamps), sorted(keys or {min(stamps)})


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder, but a video is one file: name the file, or read it as frames.")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty (0 bytes): copy or export it again.")


def _damaged(path: Path, index: int, count: int, reason: str) -> InputError:
    said = " ".join(reason.split())
    return InputError(f"{path} is damaged or cut short: frame {index} of {count} cannot be decoded ({said}).")


def _said(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".") or type(error).__name__


def _others(container: Any) -> str:
    return ", ".join(sorted({stream.type or "data" for stream in container.streams})) or "nothing"
