"""Bags: the features of a slide's patches (kind `bag`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Bag:
    """The features of a slide's patches.

    Attributes:
        features: (N, D) float16 or float32; may be lazy: sliced it gives arrays.
        coords: (N, 2) int32, the top-left corner (x, y) of each patch in pixels of level 0.
        share: (N,) float16, how much of each patch is tissue.
        size0: Side of a patch in pixels of level 0.
        dimensions: Width and height of level 0.
        mpp: Micrometres a pixel at level 0; None where it is not known.
        encoder: What made the features: name, weights, preprocessing.
    """

    kind: ClassVar[str] = "bag"

    features: Any
    coords: NDArray[np.int32]
    share: NDArray[np.float16]
    size0: int
    dimensions: tuple[int, int]
    mpp: float | None = None
    encoder: Mapping[str, Any] = field(default_factory=dict)
