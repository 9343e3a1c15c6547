"""The payload `HeatMap`: a score for each patch of a slide.

heat = HeatMap(scores=attention, coords=bag.coords, size0=bag.size0, dimensions=bag.dimensions, mpp=bag.mpp)
omlab.write(heat, "case.geojson")                                          # cells, for QuPath
Path("case.png").write_bytes(heat.overlay({"slide": slide}))
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab.payloads import Inputs, Payload

_CELL = 4
"""Pixels of a raster along the side of a patch, where nobody asks for more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HeatMap:
    """A score for each patch of a slide.

    Attributes:
        scores: (N,) float32: attention, a probability; what is shown are their percentiles.
        coords: (N, 2) int32, the top-left corner (x, y) of each patch in pixels of level 0.
        size0: Side of a patch in pixels of level 0.
        dimensions: Width and height of level 0.
        mpp: Micrometres a pixel at level 0; None where it is not known.
        thumbnail: (h, w, 3) uint8, the slide whole and small; None: it is drawn on white where no slide is given.
        name: What the scores are, such as "attention for tumour".

    Raises `InputError` where these do not fit each other.
    """

    kind: ClassVar[str] = "heat-map"

    scores: NDArray[np.float32]
    coords: NDArray[np.int32]
    size0: int
    dimensions: tuple[int, int]
    mpp: float | None = None
    thumbnail: NDArray[np.uint8] | None = None
    name: str = "score"

    def __post_init__(self) -> None:
        scores, coords = np.asarray(self.scores, np.float32), np.asarray(self.coords, np.int32)
        if scores.ndim != 1 or not scores.size or coords.shape != (scores.size, 2):
            raise InputError(
                f"A heat map has scores (N,) and coordinates (N, 2) of at least one patch, not {scores.shape} and "
                f"{coords.shape}."
            )
        if self.size0 < 1 or min(self.dimensions) < 1:
            raise InputError(
                f"A heat map has patches and a slide of at least 1 pixel, not {self.size0} and {self.dimensions}."
            )
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "coords", coords)
        object.__setattr__(self, "dimensions", (int(self.dimensions[0]), int(self.dimensions[1])))

    def __len__(self) -> int:
        return int(self.scores.size)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return int(self.scores.nbytes + self.coords.nbytes + (0 if self.thumbnail is None else self.thumbnail.nbytes))

    def is_finite(self) -> bool:
        """Whether no score is NaN or infinite."""
        return bool(np.isfinite(self.scores).all())

    def same_frame(self, other: Any) -> bool:
        """Whether `other` (a slide, a bag, a heat map) is of a slide of these dimensions."""
        found: bool = getattr(other, "dimensions", None) == self.dimensions
        return found

    @cached_property
    def percentiles(self) -> NDArray[np.float64]:
        """(N,): the percentile of each score among all."""
        from omlab_slide.heat.ranks import percentiles

        return percentiles(self.scores)

    def extremes(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the patches with the highest scores, the highest first, and with the lowest, the lowest first.

        Of equal scores the first is the higher; a patch is among one of them only.
        """
        order = np.argsort(-self.scores, kind="stable")
        most = min(count, len(self) // 2 or 1)
        return order[:most], order[::-1][: min(most, len(self) - most)]

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the slide among `inputs`, else of the thumbnail, with the percentiles over it and a scale bar."""
        from omlab_slide.heat.picture import picture

        return picture(self, slide=next((one for one in inputs.values() if one.kind == "slide"), None))

    def in_words(self) -> str:
        """Where the highest score lies, in a line."""
        best = int(np.argmax(self.scores))
        middle = self.coords[best] + self.size0 / 2
        if self.mpp is None:
            return f"{self.name}: highest at pixel {middle[0]:.0f}, {middle[1]:.0f}"
        x, y = middle * self.mpp / 1000
        return f"{self.name}: highest at {x:.2f}, {y:.2f} mm from the top left"
