"""Tissue by a network that looks at tiles: the slot for segmenters and artefact models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from omlab_slide.slide import Slide

Mask = NDArray[np.bool_]

Predict = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""Tiles (B, h, w, 3) -> how probable tissue is (B, h, w), from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class ByTiles:
    """A finder (`omlab_slide.tissue.find.Finder`) of a network's.

    Tiles overlap, and of each only the middle is taken, so that no edge shows. The mask is kept at a coarse scale.

    Attributes:
        predict: The network.
        mpp: Micrometres a pixel that it wants to see.
        tile: Pixels along a side of a tile, as it wants them.
        margin: Of these, how many along each edge are not taken.
        batch: Tiles at once.
        threshold: Of the probability.
        mask_mpp: Micrometres a pixel of the mask.
    """

    predict: Predict
    mpp: float
    tile: int = 512
    margin: int = 32
    batch: int = 8
    threshold: float = 0.5
    mask_mpp: float = 8.0

    def __call__(self, slide: Slide, /) -> Mask:
        """The mask of a slide whose mpp is known."""
        from omlab_slide.grid import corners
        from omlab_slide.tiles import tiles_at

        downsample = self.mpp / slide.scale
        middle = self.tile - 2 * self.margin
        step = middle * downsample
        places = corners(slide.dimensions, step=step)
        inset = round(self.margin * downsample)
        each = max(1, round(middle * self.mpp / self.mask_mpp))
        columns, rows = len(np.unique(places[:, 0])), len(np.unique(places[:, 1]))
        canvas = np.zeros((rows * each, columns * each), np.float32)
        for found in tiles_at(slide, places - inset, downsample=downsample, size=self.tile, batch=self.batch):
            for number, probability in zip(found.indices, self.predict(found.pixels), strict=True):
                inner = probability[self.margin : self.margin + middle, self.margin : self.margin + middle]
                coarse = cv2.resize(inner.astype(np.float32), (each, each), interpolation=cv2.INTER_AREA)
                row, column = divmod(int(number), columns)
                canvas[row * each : (row + 1) * each, column * each : (column + 1) * each] = coarse
        height, width = (max(1, round(side / step * each)) for side in slide.dimensions[::-1])
        return canvas[:height, :width] > self.threshold
