"""Stain normalisation: making tiles of one scanner and laboratory look like those of another.

    normalise = Macenko.of(reference_tiles)                # or Macenko(), to a common reference
    batch = next(tiles(slide, patches, then=normalise))

Encoders that were trained on many laboratories do without: it is off unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

TRANSPARENT = 0.15
"""Optical density below which a pixel is glass (Macenko 2009)."""
PERCENTILE = 1.0
"""Of the angles, from either end, that stand for the two stains."""
_WHITE = 240.0
"""Light that glass lets through."""
_LEAST = 100
"""Pixels of tissue that are needed to know stains by."""

_REFERENCE = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
_REFERENCE_MOST = np.array([1.9705, 1.0308])
"""Stain matrix (R, G, B) x (haematoxylin, eosin) and concentrations that the authors' published code has."""


@dataclass(frozen=True, eq=False)
class Macenko:
    """Normalisation of two stains (Macenko et al., A method for normalizing histology slides, ISBI 2009).

    The stains of each tile are the extreme directions of its optical densities in their plane of largest variance;
    their concentrations are scaled to the reference's and painted in its colours. A tile of too little tissue, whose
    stains cannot be known, stays as it is; `stains`, found over a whole slide, are taken for every tile of it.

    Attributes:
        target: (3, 2), the colours of haematoxylin and eosin as optical densities, each of length 1.
        most: (2,), the concentrations at the 99th percentile, of the reference.
        stains: Those of the slide that is normalised, and its `most`; None: found for each tile.
    """

    target: Floats
    most: Floats
    stains: tuple[Floats, Floats] | None = None

    @classmethod
    def standard(cls) -> Macenko:
        """To the reference of the authors' code."""
        return cls(_REFERENCE, _REFERENCE_MOST)

    @classmethod
    def of(cls, tiles: Pixels) -> Macenko:
        """To the stains of a reference: a tile (h, w, 3) or some (N, h, w, 3). Raises `InputError`."""
        return cls(*_known(tiles, "The reference"))

    def for_slide(self, tiles: Pixels) -> Macenko:
        """The same for a slide whose stains are found over some of its tiles (N, h, w, 3). Raises `InputError`."""
        return Macenko(self.target, self.most, stains=_known(tiles, "The slide"))

    def __call__(self, tile: Pixels) -> Pixels:
        """A tile (h, w, 3) in the reference's colours."""
        density = _density(tile)
        found = self.stains or _stains(density)
        if found is None:
            return tile
        stains, most = found
        amount = np.linalg.lstsq(stains, density.T, rcond=None)[0]
        amount *= (self.most / most)[:, None]
        painted = _WHITE * np.exp(-(self.target @ amount)).T
        return np.clip(np.rint(painted), 0, 255).astype(np.uint8).reshape(tile.shape)


def _known(tiles: Pixels, whose: str) -> tuple[Floats, Floats]:
    found = _stains(_density(tiles))
    if found is None:
        raise InputError(f"{whose} has too little tissue to know its stains by: give tiles that hold more.")
    return found


def _density(pixels: Pixels) -> Floats:
    """Optical densities (N, 3)."""
    found: Floats = -np.log((pixels.reshape(-1, 3).astype(np.float64) + 1) / _WHITE)
    return found


def _stains(density: Floats) -> tuple[Floats, Floats] | None:
    """The two stains (3, 2), haematoxylin first, and their concentrations at the 99th percentile (2,)."""
    tissue = density[(density > TRANSPARENT).all(axis=1)]
    if len(tissue) < _LEAST:
        return None
    _, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, 1:]
    plane = plane * np.sign(plane[0])  # both ways along an axis are eigenvectors: the one towards darker red
    angles = np.arctan2(*(tissue @ plane).T[::-1])
    ends = np.percentile(angles, [PERCENTILE, 100 - PERCENTILE])
    pair = plane @ np.stack([np.cos(ends), np.sin(ends)])
    stains = pair if pair[0, 0] > pair[0, 1] else pair[:, ::-1]
    if (stains.sum(axis=0) <= 0).any() or abs(float(stains[:, 0] @ stains[:, 1])) > 1 - 1e-6:
        return None
    amount = np.linalg.lstsq(stains, density.T, rcond=None)[0]
    most = np.percentile(amount, 99, axis=1)
    return None if (most <= 0).any() else (stains, most)


@dataclass(frozen=True)
class Reinhard:
    """Normalisation of mean and spread in CIELAB (Reinhard et al., Color transfer between images, 2001).

    Glass is left out of a tile's figures, and left as it is.

    Attributes:
        mean: (L, a, b) of the reference's tissue.
        spread: Standard deviations.
    """

    mean: tuple[float, float, float]
    spread: tuple[float, float, float]

    @classmethod
    def of(cls, tiles: Pixels) -> Reinhard:
        """To the colours of a reference: a tile (h, w, 3) or some (N, h, w, 3). Raises `InputError`."""
        pixels = tiles.reshape(1, -1, 3)
        is_tissue = _is_tissue(pixels)
        if is_tissue.sum() < _LEAST:
            raise InputError("The reference has too little tissue to know its colours by: give tiles that hold more.")
        values = _lab(pixels)[is_tissue]
        return cls(_triple(values.mean(axis=0)), _triple(values.std(axis=0)))

    def __call__(self, tile: Pixels) -> Pixels:
        """A tile (h, w, 3) in the reference's colours; one of too little tissue as it is."""
        is_tissue = _is_tissue(tile)
        if is_tissue.sum() < _LEAST:
            return tile
        lab = _lab(tile)
        values = lab[is_tissue]
        spread = np.maximum(values.std(axis=0), 1e-3)
        lab[is_tissue] = (values - values.mean(axis=0)) / spread * self.spread + self.mean
        painted = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB)
        found = np.clip(np.rint(255 * np.asarray(painted)), 0, 255).astype(np.uint8)
        return np.where(is_tissue[..., None], found, tile)


def _lab(pixels: Pixels) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _is_tissue(pixels: Pixels) -> NDArray[np.bool_]:
    density = -np.log((pixels.astype(np.float32) + 1) / _WHITE)
    return np.asarray((density > TRANSPARENT).any(axis=-1))


def _triple(values: Sequence[float] | NDArray[np.floating]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
