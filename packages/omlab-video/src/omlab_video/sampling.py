"""Rules that choose the frames of a clip: all give indices from 0, int64, that lie in the video.

spread(0, 255, count=8, frames=150)    # 0, 36, 72, 109, 145, 149, 149, 149
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omlab.errors import UsageError

Indices = NDArray[np.int64]


def spread(start: float, end: float, *, count: int, frames: int) -> Indices:
    """`count` frames at equal distances from `start` to `end`, both included.

    In float32, held to [0, frames - 1] and cut off to whole numbers: the rule of SlowFast and TimeSformer. What lies
    beyond the end of a short video repeats its last frame. Raises `UsageError` where there is nothing to choose from.
    """
    if frames < 1 or count < 1:
        raise UsageError(f"{count} frames cannot be chosen from a video of {frames}: both must be at least 1.")
    places = _linspace(start, end, count)
    return np.clip(places, 0, frames - 1).astype(np.int64)


def _linspace(start: float, end: float, count: int) -> NDArray[np.float32]:
    """As torch's of float32: the first half is counted from the start, the second from the end."""
    if count == 1:
        return np.array([start], np.float32)
    first, last = np.float32(start), np.float32(end)
    step = np.float32((last - first) / np.float32(count - 1))
    places = np.arange(count, dtype=np.float32)
    rising = first + step * places
    falling = last - step * (np.float32(count - 1) - places)
    return np.where(np.arange(count) < count // 2, rising, falling).astype(np.float32)


def clip_range(*, frames: int, length: float, number: int = 0, clips: int = 1) -> tuple[float, float]:
    """First and last place of clip `number` of so many, which start at equal distances over a video.

    `length` frames belong to a clip; it may be a fraction. A video that is shorter has all its clips at its start.
    Raises `UsageError` where there is no such clip.
    """
    if not 0 <= number < clips:
        raise UsageError(f"Of {clips} clips there is none with the number {number}: they are counted from 0.")
    start = max(frames - length, 0) * number / clips
    return start, start + length - 1


def around(centre: int, *, reach: int, frames: int) -> Indices:
    """The frames from `reach` before `centre` to `reach` after it that the video has, `centre` among them."""
    if not 0 <= centre < frames:
        raise UsageError(f"Frame {centre} is none of the {frames} of the video.")
    return np.arange(max(0, centre - reach), min(frames, centre + reach + 1), dtype=np.int64)
