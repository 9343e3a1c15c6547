"""What a library that opens slides is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Level:
    """One level of a pyramid: `size` is (width, height) in its pixels, `downsample` how much coarser than level 0."""

    size: tuple[int, int]
    downsample: float


class Reader(Protocol):
    """An open slide, used by one thread at a time."""

    name: str
    levels: Sequence[Level]
    properties: Mapping[str, str]

    def read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels (h, w, 4) with alpha, or (h, w, 3), of `size` (width, height) in the level's pixels.

        `location` is the top-left corner (x, y) in pixels of level 0. What lies outside of the slide is white, or has
        alpha 0. Raises `InputError` where a tile cannot be decoded; the reader may be unusable afterwards.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Opener(Protocol):
    """Opens the slide anew: for another thread, another process, or after an error. Picklable."""

    def __call__(self) -> Reader:
        """The open slide. Raises `InputError` that names the file."""
        ...
