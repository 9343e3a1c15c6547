"""Whole slides (kind `slide`): a pyramid that is read by region, never a level whole.

slide = open_slide("case.svs")
tile = slide.read_at((20_000, 14_000), mpp=0.5, size=(256, 256))           # (256, 256, 3) uint8
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError, UsageError
from omlab_slide.readers.handles import Handles
from omlab_slide.readers.mending import Flaw, mended
from omlab_slide.readers.opening import opener_for
from omlab_slide.readers.reader import Level, Opener
from omlab_slide.readers.scale import lacking, scale_of

__all__ = ["Flaw", "Level", "Region", "Slide", "open_slide"]

Pixels = NDArray[np.uint8]
Pair = tuple[int, int]

_NEAR = 1.01
"""A level that is coarser than wanted by less than this is taken as it is."""


@dataclass(frozen=True)
class Region:
    """Pixels (h, w, 3), and what could not be read of them as it stands in the file (empty: everything could)."""

    pixels: Pixels
    flaws: Sequence[Flaw] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Slide:
    """A whole slide, read by region. Picklable; each thread has a handle of its own.

    Attributes:
        opener: Opens it anew.
        levels: From the finest on.
        mpp: Micrometres a pixel at level 0; None where the file does not say it and nobody did.
        properties: What the file says of itself, by the library's keys.
        name: What messages call it.
        path: The file or folder, where it is one.
        flaws: What could not be read so far as it stands in the file.
    """

    kind: ClassVar[str] = "slide"

    opener: Opener
    levels: Sequence[Level]
    mpp: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    name: str = "the slide"
    path: Path | None = None
    flaws: list[Flaw] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.mpp is not None and not self.mpp > 0:
            raise UsageError(f"The mpp of a slide is more than 0, not {self.mpp}.")
        # no fields: reading a slide does not change it
        object.__setattr__(self, "_handles", Handles(self.opener))
        object.__setattr__(self, "_kept", {})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}  # another process reads its own overview, if it needs one

    @property
    def kept(self) -> dict[str, Pixels]:
        """The last overview, so that it is not read again."""
        found: dict[str, Pixels] = self.__dict__["_kept"]
        return found

    @property
    def handles(self) -> Handles:
        """The open file of each thread."""
        found: Handles = self.__dict__["_handles"]
        return found

    @property
    def dimensions(self) -> Pair:
        """Width and height of level 0."""
        return self.levels[0].size

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory: those of its overview, once there is one."""
        return sum(pixels.nbytes for pixels in self.kept.values())

    @property
    def scale(self) -> float:
        """`mpp`, where nothing can be done without. Raises `InputError` that says where it was looked for."""
        if self.mpp is None:
            raise InputError(lacking(self.name, self.properties))
        return self.mpp

    def level_for(self, downsample: float) -> int:
        """The coarsest level that is no coarser than wanted (by 1 % at most)."""
        fitting = [n for n, level in enumerate(self.levels) if level.downsample <= downsample * _NEAR]
        return max(fitting, key=lambda n: self.levels[n].downsample, default=0)

    def region(self, location: Pair, level: int, size: Pair) -> Region:
        """Pixels of `size` (width, height) of a level, from `location` (x, y) in pixels of level 0 on.

        Composited on white, which is also what lies outside. What cannot be decoded is read from another level, else
        white, and told in `Region.flaws` and `Slide.flaws`. Raises `InputError` where the file is gone.
        """
        if not 0 <= level < len(self.levels):
            raise UsageError(f"{self.name} has the levels 0 to {len(self.levels) - 1}, not {level}.")
        if min(size) < 1:
            raise UsageError(f"A region has a width and a height of at least 1 pixel, not {size[0]} x {size[1]}.")
        pixels, flaws = mended(self.handles, location, level, size)
        self.flaws.extend(flaws)
        return Region(pixels, flaws)

    def read(self, location: Pair, level: int, size: Pair) -> Pixels:
        """The pixels (h, w, 3) of `region`."""
        return self.region(location, level, size).pixels

    def region_scaled(self, location: Pair, *, downsample: float, size: Pair) -> Region:
        """`region` where level 0 is made `downsample` times coarser: read from the best level and resized."""
        from omlab_slide.resizing import resized

        level = self.level_for(downsample)
        ratio = downsample / self.levels[level].downsample
        wanted = (max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio)))
        found = self.region(location, level, wanted)
        return found if wanted == size else Region(resized(found.pixels, size), found.flaws)

    def read_scaled(self, location: Pair, *, downsample: float, size: Pair) -> Pixels:
        """The pixels (h, w, 3) of `region_scaled`."""
        return self.region_scaled(location, downsample=downsample, size=size).pixels

    def read_at(self, location: Pair, mpp: float, size: Pair) -> Pixels:
        """Pixels (h, w, 3) of `size` (width, height) at `mpp`, from `location` (x, y) in pixels of level 0 on.

        Raises `InputError` where the slide's own mpp is not known.
        """
        return self.read_scaled(location, downsample=mpp / self.scale, size=size)

    def overview(self, longest: int) -> Pixels:
        """The slide whole, (h, w, 3), with at most `longest` pixels along its longer side; read block by block."""
        from omlab_slide.resizing import overview

        return overview(self, longest)

    def thumbnail(self, *, size: int) -> bytes:
        """A PNG of `overview`."""
        from PIL import Image

        stream = BytesIO()
        Image.fromarray(self.overview(size)).save(stream, "PNG")
        return stream.getvalue()

    def close(self) -> None:
        """Let go of the file in this thread; it is opened again when it is needed."""
        self.handles.close()


def open_slide(path: str | Path, *, mpp: float = 0.0, reader: str = "") -> Slide:
    """The slide of a file or folder.

    Args:
        path: The file; of DICOM also the folder.
        mpp: Micrometres a pixel at level 0, in place of what the file says; 0: as the file says.
        reader: Name of the library (`openslide`, `tiffslide`, `picture`); empty: the first that can open it.

    Raises:
        InputError: None can open it; names the file.
    """
    path = Path(path)
    opener, first = opener_for(path, reader=reader)
    slide = Slide(
        opener=opener,
        levels=tuple(first.levels),
        mpp=mpp or scale_of(first.properties, name=str(path)),
        properties=dict(first.properties),
        name=str(path),
        path=path,
    )
    first.close()
    return slide
