"""What is found in a clip frame by frame: the kinds `labelmap-clip` (a class per pixel) and `boxes-clip`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, UsageError
from omlab.payloads import Inputs, Payload, describe
from omlab_image.image import LabelMap2D
from omlab_payloads.boxes import Boxes
from omlab_payloads.colours import Colour, default_colour
from omlab_video.clip import Clip, Frame


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelMapClip:
    """One class per pixel of each frame of a clip.

    Attributes:
        array: (T, H, W) of uint8, 0 the background.
        names: Of the classes, by their value.
        facts: What its model says of it (JSON; `omlab.payloads.Telling`), as those of `omlab_image.image.LabelMap2D`.

    Raises `InputError` for another array.
    """

    kind: ClassVar[str] = "labelmap-clip"

    array: NDArray[np.uint8]
    names: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        array = self.array
        if array.ndim != 3 or array.dtype != np.uint8 or not array.size:
            raise InputError(
                f"Masks over time are [T, H, W] of uint8 with at least one pixel, not {list(array.shape)} of "
                f"{array.dtype}."
            )
        object.__setattr__(self, "names", {int(value): str(name) for value, name in self.names.items()})

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""
        frames, rows, columns = self.array.shape
        return int(frames), int(rows), int(columns)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return int(self.array.nbytes)

    def same_grid(self, other: Any) -> bool:
        """Whether `other` (a clip, or masks over time) has as many frames of as many rows and columns."""
        return getattr(other, "shape", None) == self.shape

    def tells(self) -> Mapping[str, Any]:
        """What its model says of it."""
        return self.facts

    def telling(self, facts: Mapping[str, Any]) -> LabelMapClip:
        """The same with other `facts`."""
        return replace(self, facts=dict(facts))

    def present(self) -> dict[int, str]:
        """The classes that some pixel has, value to name; never the background."""
        return {int(value): self.names.get(int(value), f"label {value}") for value in np.unique(self.array) if value}

    def named(self, names: Mapping[int, str]) -> LabelMapClip:
        """The same with these names for its values."""
        return replace(self, names=names)

    def frame(self, index: int) -> LabelMap2D:
        """The label map of one frame."""
        return LabelMap2D(array=self.array[index], names=self.names)

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the frame in which most is found, with these classes, and outlines of `target`, over it.

        Raises `UsageError` where no clip of these frames is among the inputs.
        """
        clip = lies_on(self, inputs)
        index = int(np.count_nonzero(self.array, axis=(1, 2)).argmax())
        if target is not None and not isinstance(target, LabelMapClip):
            raise UsageError(f"A {LabelMapClip.kind} is outlined, not a {describe(target)}.")
        outlined = None if target is None else target.frame(index)
        return self.frame(index).overlay({"image": clip.picture(index)}, target=outlined)

    def drawn(self, clip: Clip, *, opacity: float = 0.45) -> Iterator[Frame]:
        """The frames of the clip with the classes in colour over them, their names and what frame it is at the top."""
        from omlab_payloads.pictures.names import MOST, tinted

        palette = np.array([(0, 0, 0), *(default_colour(value) for value in range(1, 256))], np.float32)
        names = [(name, tinted(default_colour(value))) for value, name in self.present().items()][:MOST]
        for index, (frame, classes) in enumerate(zip(clip.stream(), self.array, strict=True)):
            there = (classes > 0)[..., None] * np.float32(opacity)
            mixed = np.rint(frame * (1 - there) + palette[classes] * there).astype(np.uint8)
            yield _headed(mixed, clip.place(index), names)


@dataclass(frozen=True, kw_only=True)
class BoxesClip:
    """The boxes of each frame of a clip, in pixels (`omlab_payloads.boxes.Boxes`).

    Raises `UsageError` where the boxes of a frame are not in pixels.
    """

    kind: ClassVar[str] = "boxes-clip"

    frames: Sequence[Boxes] = ()

    def __post_init__(self) -> None:
        frames = tuple(self.frames)
        wrong = next((number for number, boxes in enumerate(frames) if boxes.space != "pixel"), None)
        if wrong is not None:
            raise UsageError(f"The boxes of frame {wrong} are in {frames[wrong].space} space, but must be in pixels.")
        object.__setattr__(self, "frames", frames)

    @property
    def nbytes(self) -> int:
        """About the bytes of the numbers."""
        return sum(boxes.nbytes for boxes in self.frames)

    def is_finite(self) -> bool:
        """Whether no number is NaN or infinite."""
        return all(boxes.is_finite() for boxes in self.frames)

    def in_words(self) -> str:
        """How many boxes in how many frames."""
        with_some = sum(1 for boxes in self.frames if boxes.boxes)
        return f"{sum(len(boxes.boxes) for boxes in self.frames)} boxes in {with_some} of {len(self.frames)} frames"

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the frame with the surest box, or that with most of them, with its boxes and those of `target`.

        Raises `UsageError` where no clip of as many frames is among the inputs.
        """
        clip = next((one for one in inputs.values() if isinstance(one, Clip) and len(one) == len(self.frames)), None)
        if clip is None:
            given = ", ".join(describe(payload) for payload in inputs.values()) or "nothing"
            raise UsageError(f"A {self.kind} is drawn over a clip of {len(self.frames)} frames, but {given} was given.")
        index = max(range(len(clip)), key=lambda n: _sureness(self.frames[n]))
        references = target.frames[index] if isinstance(target, BoxesClip) else None
        return self.frames[index].overlay({"image": clip.picture(index)}, target=references)

    def to_value(self) -> dict[str, Any]:
        """JSON, of which `from_value` makes it again."""
        return {"frames": [boxes.to_value()["boxes"] for boxes in self.frames]}

    @classmethod
    def from_value(cls, value: Any) -> BoxesClip:
        """The boxes of `{"frames": [[{"near": ..., "far": ..., "label": ..., "score": ...}]]}`. Raises `UsageError`."""
        frames = value.get("frames") if isinstance(value, Mapping) else None
        if not isinstance(frames, list):
            raise UsageError("Boxes over time are an object with 'frames', a list of the boxes of each frame.")
        return cls(frames=[Boxes.from_value({"space": "pixel", "boxes": boxes}) for boxes in frames])


def lies_on(masks: LabelMapClip, inputs: Inputs) -> Clip:
    """The clip among the inputs that masks lie on. Raises `UsageError`."""
    clips = [payload for payload in inputs.values() if isinstance(payload, Clip) and masks.same_grid(payload)]
    if not clips:
        given = ", ".join(describe(payload) for payload in inputs.values()) or "nothing"
        raise UsageError(f"A {masks.kind} is drawn over a clip of as many frames, but {given} was given.")
    return clips[0]


def _sureness(boxes: Boxes) -> tuple[float, int]:
    """The score of the surest box of a frame, and how many there are."""
    return max((box.score or 0.0 for box in boxes.boxes), default=0.0), len(boxes.boxes)


def _headed(frame: Frame, title: str, names: Sequence[tuple[str, Colour]]) -> Frame:
    """A frame with a title at its top and names below it, in their colours; as it is where it has no room."""
    from PIL import Image, ImageDraw

    from omlab_payloads.pictures.words import INK, letters_for, write

    picture = Image.fromarray(frame)
    letters = letters_for(picture.size)
    if not letters:
        return frame
    draw = ImageDraw.Draw(picture)
    for row, (words, colour) in enumerate([(title, INK), *names]):
        write(draw, (6, 5 + row * (letters + 5)), words, size=letters, anchor="lt", colour=colour)
    return np.asarray(picture)
