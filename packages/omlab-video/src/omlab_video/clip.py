"""The kind `clip`: frames in colour with their times, read when they are asked for.

clip = omlab.read("colonoscopy.mp4")
frames = clip.read([0, 30, 60])                                             # (3, H, W, 3) uint8
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, UsageError
from omlab_image.image import Image

Frame = NDArray[np.uint8]


class Frames(Protocol):
    """Where the frames of a clip are: a file, a folder, the memory. Light and picklable."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a frame, upright."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory."""
        ...

    def stream(self, indices: Sequence[int]) -> Iterator[Frame]:
        """The frames (H, W, 3) of these indices, which rise (and may repeat), one after the other."""
        ...


@dataclass(frozen=True)
class Kept:
    """Frames in memory, (T, H, W, 3) uint8."""

    array: Frame

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return int(self.array.shape[1]), int(self.array.shape[2])

    @property
    def nbytes(self) -> int:
        """Bytes of all frames."""
        return int(self.array.nbytes)

    def stream(self, indices: Sequence[int]) -> Iterator[Frame]:
        """The frames of these indices."""
        return (self.array[index] for index in indices)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Frames of others from the `first` on."""

    whole: Frames
    first: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self.whole.size

    @property
    def nbytes(self) -> int:
        """Bytes that the whole holds."""
        return self.whole.nbytes

    def stream(self, indices: Sequence[int]) -> Iterator[Frame]:
        """The frames of these indices."""
        return self.whole.stream([self.first + index for index in indices])


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip:
    """A video, or a part of one: frames of red, green and blue in 8 bits, and when each is shown.

    Attributes:
        frames: Where they are read from.
        times: Seconds from the first frame on, one for each frame, rising; at whatever distances.
        name: What messages call it.

    Raises `InputError` where there is no frame, or times do not rise.
    """

    kind: ClassVar[str] = "clip"

    frames: Frames
    times: NDArray[np.float64]
    name: str = "the clip"

    def __post_init__(self) -> None:
        times = np.asarray(self.times, np.float64)
        if times.ndim != 1 or not times.size:
            raise InputError(f"{self.name} has no frame: a clip has at least one.")
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise InputError(f"{self.name}: the times of its frames do not rise, but must.")
        object.__setattr__(self, "times", times)

    @classmethod
    def of(cls, array: Frame, *, rate: float = 25.0, name: str = "the clip") -> Clip:
        """The clip of frames in memory, (T, H, W, 3) uint8, with `rate` frames a second."""
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or not array.size:
            raise InputError(f"{name}: frames are [T, H, W, 3] of uint8, not {list(array.shape)} of {array.dtype}.")
        return cls(frames=Kept(array), times=np.arange(len(array)) / rate, name=name)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""
        return (len(self), *self.frames.size)

    @property
    def rate(self) -> float:
        """Frames a second on average; 0 of a single frame."""
        return (len(self) - 1) / float(self.times[-1] - self.times[0]) if len(self) > 1 else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory."""
        return int(self.times.nbytes) + self.frames.nbytes

    def stream(self, indices: Sequence[int] | None = None) -> Iterator[Frame]:
        """Frames (H, W, 3) one by one; all of them, or those of rising indices.

        Raises `UsageError` for an index beyond the clip, `InputError` for what cannot be decoded.
        """
        wanted = range(len(self)) if indices is None else [int(index) for index in indices]
        outside = [index for index in wanted if not 0 <= index < len(self)] if indices is not None else []
        if outside:
            raise UsageError(f"{self.name} has the frames 0 to {len(self) - 1}, not {outside[0]}.")
        return self.frames.stream(wanted)

    def read(self, indices: Sequence[int]) -> Frame:
        """The frames of any indices, (n, H, W, 3): each is decoded once. Raises as `stream`."""
        order, places = np.unique(np.asarray(indices, np.int64), return_inverse=True)
        return np.stack(list(self.stream(order.tolist())))[places]

    def at(self, seconds: float) -> int:
        """The index of the frame that is shown at that time."""
        return max(0, int(np.searchsorted(self.times, seconds, side="right")) - 1)

    def part(self, start: int, stop: int) -> Clip:
        """The frames from `start` to before `stop` as a clip of its own. Raises `UsageError` where it has none."""
        if not 0 <= start < stop <= len(self):
            raise UsageError(f"{self.name} has {len(self)} frames: none from {start} to before {stop}.")
        times = self.times[start:stop] - self.times[start]
        return Clip(frames=Part(whole=self.frames, first=start), times=times, name=self.name)

    def picture(self, index: int) -> Image:
        """One frame as an image, whose title says which and when. Raises as `stream`."""
        return Image(array=self.read([index])[0], title=self.place(index))

    def place(self, index: int) -> str:
        """Which frame that is, and when it is shown, in words."""
        return f"frame {index + 1} of {len(self)}, {self.times[index]:.2f} s"

    def loaded(self) -> Clip:
        """The same with all frames in memory."""
        if isinstance(self.frames, Kept):
            return self
        return Clip(frames=Kept(np.stack(list(self.stream()))), times=self.times, name=self.name)

    def same_grid(self, other: Any) -> bool:
        """Whether `other` (a clip, or masks over time) has as many frames of as many rows and columns."""
        return getattr(other, "shape", None) == self.shape

    def thumbnail(self, *, size: int) -> bytes:
        """A small PNG of its middle frame (`omlab.payloads.Viewable`)."""
        return self.picture(len(self) // 2).thumbnail(size=size)
