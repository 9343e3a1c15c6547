"""The payloads of this package: `Image` (intensities or colours) and `LabelMap2D` (classes) of two dimensions.

Arrays are [row, column] or [row, column, channel]; row 0 is the top, column 0 the left edge of what is looked at.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, InputError, UsageError
from omlab.payloads import Inputs, Payload, describe

Spacing = tuple[float, float]
"""Distances in mm between the middles of neighbouring pixels: from row to row, from column to column."""

_DTYPES = ("uint8", "uint16", "float32")
HIGHEST_LABEL = 65535


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an image was read from: the format's name, the file, and what it says of itself (`meta`)."""

    format: str
    path: Path
    meta: Mapping[str, Any] = field(default_factory=dict)


class _Flat:
    """What images and label maps have in common."""

    array: NDArray[Any]
    spacing: Spacing | None
    source: Source | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (int(self.array.shape[0]), int(self.array.shape[1]))

    @property
    def name(self) -> str | None:
        """Name of the file that it was read from; None: it was not read."""
        return None if self.source is None else self.source.path.name

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return int(self.array.nbytes)

    def same_grid(self, other: Any) -> bool:
        """Whether `other` (an image or label map of two dimensions) has the same pixels.

        That is: as many rows and columns, and the same spacing where both know theirs.
        """
        if not isinstance(other, _Flat) or other.shape != self.shape:
            return False
        if self.spacing is None or other.spacing is None:
            return True
        return all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(self.spacing, other.spacing, strict=True))

    def _check_spacing(self) -> None:
        if self.spacing is None:
            return
        spacing = tuple(float(one) for one in self.spacing)
        if len(spacing) != 2 or not all(math.isfinite(one) and one > 0 for one in spacing):
            raise GeometryError(f"The spacing of an image is two distances in mm above 0, not {self.spacing}.")
        object.__setattr__(self, "spacing", spacing)


@dataclass(frozen=True, eq=False, kw_only=True)
class Image(_Flat):
    """A picture of two dimensions: a fundus photograph, a radiograph, a frame of an endoscope, a patch of a slide.

    Attributes:
        array: [H, W] (grey) or [H, W, 3] (red, green, blue), uint8, uint16 or float32. Black is 0; white is
            2^bit_depth - 1 of integers and 1 of floats.
        spacing: Of the pixels in mm (rows, columns), where it is known.
        bit_depth: Bits of an integer that are used, such as 12 of a radiograph's; 0: all that the type has.
        source: Where it was read from.
        title: What its picture is headed with, such as which frame of a clip it is.

    Raises `InputError` for another array, `GeometryError` for a spacing that cannot be.
    """

    kind: ClassVar[str] = "image"

    array: NDArray[Any]
    spacing: Spacing | None = None
    bit_depth: int = 0
    source: Source | None = None
    title: str = ""

    def __post_init__(self) -> None:
        array = self.array
        if array.dtype.name not in _DTYPES or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
            raise InputError(
                f"An image is [H, W] or [H, W, 3] of {', '.join(_DTYPES)}, not {list(array.shape)} of {array.dtype}."
            )
        if not array.size:
            raise InputError(f"An image has at least one pixel, not the shape {list(array.shape)}.")
        bits = 8 * array.dtype.itemsize
        depth = self.bit_depth or bits
        if not 1 <= depth <= bits or (array.dtype.kind == "f" and depth != bits):
            raise InputError(f"An image of {array.dtype} has 1 to {bits} bits, not {self.bit_depth}.")
        object.__setattr__(self, "bit_depth", depth)
        self._check_spacing()

    @property
    def is_grey(self) -> bool:
        """Whether it has one intensity a pixel, not three colours."""
        return self.array.ndim == 2

    @property
    def white(self) -> float:
        """The value that stands for white."""
        return 1.0 if self.array.dtype.kind == "f" else float(2**self.bit_depth - 1)

    @property
    def digest(self) -> str:
        """sha256 of what is seen: files that hold the same picture have the same one, however they are compressed."""
        array = self.array
        if array.ndim == 3 and (array == array[..., :1]).all():  # grey that was saved in three colours
            array = array[..., 0]
        digest = hashlib.sha256(f"{array.dtype} {array.shape} {self.bit_depth}".encode())
        digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def is_finite(self) -> bool:
        """Whether no pixel is NaN or infinite."""
        return self.array.dtype.kind != "f" or bool(np.isfinite(self.array).all())

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of this image itself, with the outlines of `target`. Raises as `LabelMap2D.overlay`."""
        from omlab_image.pictures.picture import picture

        return picture(self, target=_outlined(target))

    def with_boxes(self, boxes: Any, *, target: Payload | None = None) -> bytes:
        """A PNG of this image with the boxes of a payload of kind `boxes`, and in white those of another, `target`.

        Raises `GeometryError` where boxes are not in pixels.
        """
        from omlab_image.pictures.picture import picture_of_boxes

        references: Any = target if target is not None and target.kind == boxes.kind else None
        for given in (boxes, references):
            if given is not None and given.space != "pixel":
                raise GeometryError(
                    f"Boxes in {given.space} space are no places in an image: it needs those in pixels."
                )
        return picture_of_boxes(self, boxes.boxes, references=() if references is None else references.boxes)

    def with_array(self, array: NDArray[Any]) -> Image:
        """This image with other pixels of the same type."""
        return replace(self, array=array)

    def unit(self) -> NDArray[np.float32]:
        """The pixels from 0 (black) to 1 (white), float32; what is beyond is cut off."""
        values = self.array.astype(np.float32)
        if self.white != 1.0:
            values /= np.float32(self.white)
        return np.clip(values, 0.0, 1.0, out=values)

    def eight_bit(self) -> NDArray[np.uint8]:
        """The pixels as 8 bits, [H, W] or [H, W, 3]; NaN is black."""
        if self.array.dtype == np.uint8 and self.bit_depth == 8:
            return self.array
        return np.rint(np.nan_to_num(self.unit(), nan=0.0) * 255).astype(np.uint8)

    def thumbnail(self, *, size: int) -> bytes:
        """A small PNG of it (`omlab.payloads.Viewable`)."""
        from omlab_image.pictures.picture import thumbnail

        return thumbnail(self, size=size)

    def rgb(self) -> NDArray[np.uint8]:
        """[H, W, 3] of 8 bits; of a grey image three times the same."""
        values = self.eight_bit()
        return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelMap2D(_Flat):
    """One class per pixel.

    Attributes:
        array: [H, W] of unsigned integers, 0 the background.
        names: Of the classes, by their value.
        spacing: Of the pixels in mm (rows, columns), where it is known.
        source: Where it was read from.
        facts: What its model says of it (JSON; `omlab.payloads.Telling`): `structures` by name with how sure they are,
            `gate` what was doubtful. It stands in the run's log and beside the file, not in it.

    Raises `InputError` for another array, `GeometryError` for a spacing that cannot be.
    """

    kind: ClassVar[str] = "labelmap-2d"

    array: NDArray[Any]
    names: Mapping[int, str] = field(default_factory=dict)
    spacing: Spacing | None = None
    source: Source | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        array = self.array
        if array.ndim != 2 or array.dtype.kind != "u" or not array.size:
            raise InputError(
                f"A label map's array is [H, W] of unsigned integers with at least one pixel, not {list(array.shape)} "
                f"of {array.dtype}."
            )
        object.__setattr__(self, "names", {int(value): str(name) for value, name in self.names.items()})
        self._check_spacing()

    def tells(self) -> Mapping[str, Any]:
        """What its model says of it."""
        return self.facts

    def telling(self, facts: Mapping[str, Any]) -> LabelMap2D:
        """This label map with other `facts`."""
        return replace(self, facts=dict(facts))

    def present(self) -> dict[int, str]:
        """The classes that some pixel has, value to name; never the background."""
        values = (int(value) for value in np.unique(self.array))
        return {value: self.names.get(value, f"label {value}") for value in values if value}

    def named(self, names: Mapping[int, str]) -> LabelMap2D:
        """This label map with these names for its values."""
        return replace(self, names=names)

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the image among `inputs` with this label map, and the outlines of `target`, over it.

        Prompts among the inputs are marked. Without a target a label map among them that lies on these pixels is
        outlined: the reference that clicks were simulated against.

        Raises:
            UsageError: There is no image among the inputs, or `target` is no label map of two dimensions.
            GeometryError: The image, or the target, has other pixels.
        """
        from omlab_image.pictures.picture import picture

        images = [payload for payload in inputs.values() if isinstance(payload, Image)]
        if not images:
            given = ", ".join(describe(payload) for payload in inputs.values()) or "nothing"
            raise UsageError(f"A {self.kind} is drawn over an image, but {given} was given.")
        below = next((image for image in images if self.same_grid(image)), images[0])
        if target is None:
            target = next((one for one in inputs.values() if isinstance(one, LabelMap2D) and self.same_grid(one)), None)
        prompts = [payload for payload in inputs.values() if payload.kind == "prompts"]
        return picture(below, self, target=_outlined(target), prompts=prompts)


def _outlined(target: Payload | None) -> LabelMap2D | None:
    if target is not None and not isinstance(target, LabelMap2D):
        raise UsageError(f"A {LabelMap2D.kind} is outlined, not a {describe(target)}.")
    return target
