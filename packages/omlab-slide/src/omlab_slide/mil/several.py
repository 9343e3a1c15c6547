"""A slide in the place of its bag (kind `bag`): it is encoded when a model is asked about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from omlab.payloads import Payload
from omlab_slide.bag import Bags
from omlab_slide.files import SlideFile
from omlab_slide.slide import Slide


@dataclass(frozen=True, eq=False, kw_only=True)
class BagOfSlide:
    """A slide in the place of its bag: a model that is handed an encoder makes it."""

    kind: ClassVar[str] = "bag"

    slide: Slide

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return self.slide.nbytes

    @classmethod
    def stack(cls, parts: Sequence[Payload]) -> Bags:
        """Several slides that are one case."""
        return Bags(parts_of_case=tuple(parts))

    @property
    def dimensions(self) -> tuple[int, int]:
        """Width and height of level 0."""
        return self.slide.dimensions

    def same_frame(self, other: Any) -> bool:
        """Whether `other` is of a slide of these dimensions."""
        found: bool = getattr(other, "dimensions", None) == self.dimensions
        return found


class SlideAsBag:
    """The format `slide-as-bag`: a slide file in the place of a bag."""

    def read(self, path: Path, *, kind: str, **settings: Any) -> BagOfSlide:
        """Open the slide. Raises `InputError`."""
        slide = SlideFile().read(path, kind="slide", **settings)
        assert isinstance(slide, Slide)
        return BagOfSlide(slide=slide)
