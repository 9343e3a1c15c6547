"""Pairs of patches to learn from: as they are, and deformed, with where each voxel lies.

Source: Lei et al. 2023, arXiv 2306.14752, section III-B. Places are in voxels of the volume at 3 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor

from omlab_medlsam.localisation import DARKEST
from omlab_medlsam.space import SPACING
from omlab_medlsam.working import Image
from omlab_train.cache import Entry
from omlab_volume.training.patches import cut

MARGIN = 8
"""Voxels on each side by which a crop is larger than a patch: how far an original patch is from the deformed one."""
TRIES = 20
BACKGROUND = 0.0001
CHANCE = 0.5
"""Of each deformation."""
_BENDS = ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8))
_STEEP = 0.1
_NOISE = 0.2
_SCALE, _DEGREES = 0.1, 15.0
_CONTROLS, _SHIFT = 5, 3.0


class Crop(NamedTuple):
    """A patch (D, H, W) as it is, where it begins, and a deformed one with the place (3, D, H, W) of each voxel."""

    original: Image
    start: NDArray[np.int_]
    deformed: Image
    places: NDArray[np.float32]


def draw_crop(image: Image, rng: Generator, *, patch: Sequence[int]) -> Crop:
    """A random crop of a volume: about a voxel that is not empty, unless none is found in `TRIES`."""
    size = np.array(patch)
    for _ in range(TRIES):
        centre = rng.integers(image.shape)
        if image[tuple(centre)] >= DARKEST:
            break
    first = centre - size // 2 - MARGIN
    crop = cut(image, start=first, patch_size=[n + 2 * MARGIN for n in patch])
    inside = rng.integers(0, 2 * MARGIN, size=3, endpoint=True)
    original = crop[tuple(slice(a, a + n) for a, n in zip(inside, patch, strict=True))]
    deformed, places = _deformed(crop, rng, patch=size)
    shift = first[:, None, None, None].astype(np.float32)
    return Crop(np.ascontiguousarray(original), first + inside, deformed, places + shift)


def _deformed(crop: Image, rng: Generator, *, patch: NDArray[np.int_]) -> tuple[Image, NDArray[np.float32]]:
    """The middle of a crop, deformed, and where in the crop its voxels are from."""
    bend, noise, turn, warp = rng.random(4) < CHANCE
    source = bent(crop, [float(rng.uniform(*ends)) for ends in _BENDS]) if bend else crop
    if noise:
        source = source + rng.normal(0, rng.uniform(0, _NOISE), size=source.shape).astype(np.float32)
    places = np.stack(np.meshgrid(*(np.arange(n) + MARGIN for n in patch), indexing="ij")).astype(np.float32)
    if turn:
        middle = (np.array(crop.shape)[:, None, None, None] - 1) / 2
        places = (np.tensordot(_turn(rng), places - middle, axes=1) + middle).astype(np.float32)
    if warp:
        controls = rng.uniform(-_SHIFT, _SHIFT, size=(3, *(_CONTROLS,) * 3))
        places += np.stack([ndimage.zoom(shift, patch / _CONTROLS, order=3, output=np.float32) for shift in controls])
    if not (turn or warp):
        return source[tuple(slice(MARGIN, MARGIN + n) for n in patch)].copy(), places
    return ndimage.map_coordinates(source, places, order=1, mode="constant", output=np.float32), places


def bent(image: Image, steps: Sequence[float]) -> Image:
    """Intensities by a sum of logistic steps at the given places: monotonous, between 0 and 1."""
    total = sum(1 / (1 + np.exp((step - image) / _STEEP)) for step in steps)
    return np.asarray(total / len(steps), np.float32)


def _turn(rng: Generator) -> NDArray[np.float64]:
    """A random rotation about each axis, and a scale of each."""
    matrix = np.diag(rng.uniform(1 - _SCALE, 1 + _SCALE, size=3))
    for axis, degrees in enumerate(rng.uniform(-_DEGREES, _DEGREES, size=3)):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        a, b = (other for other in range(3) if other != axis)
        rotation = np.eye(3)
        rotation[[a, a, b, b], [a, b, a, b]] = cos, -sin, sin, cos
        matrix = rotation @ matrix
    return matrix


@dataclass(frozen=True, kw_only=True)
class PairBatches:
    """Batches for `omlab_train.Recipe`: two crops of each volume, a function of seed and number alone.

    Attributes:
        entries: Prepared volumes, `image` (Z, Y, X).
        patch: Voxels of a patch.
        volumes: In a batch.
        points: Voxels of each original patch that are looked for in the deformed one.
        seed: What all randomness comes from.
    """

    entries: tuple[Entry, ...]
    patch: tuple[int, int, int]
    volumes: int
    points: int
    seed: int

    def __call__(self, number: int) -> dict[str, Tensor]:
        """The patches of batch `number`; the first axis tells the two crops of each volume.

        `original` and `deformed` (2, B, 1, D, H, W), `starts` (2, B, 3) mm, `places` (2, B, 3, D, H, W) mm and
        `points` (2, K, 3) voxels.
        """
        rng = np.random.default_rng([self.seed, number])
        pairs = []
        for _ in range(self.volumes):
            image = self.entries[int(rng.integers(len(self.entries)))]["image"]
            pairs.append([draw_crop(image, rng, patch=self.patch) for _ in range(2)])
        crops = [Crop(*(np.stack(part) for part in zip(*one, strict=True))) for one in zip(*pairs, strict=True)]
        return {
            "original": torch.from_numpy(np.stack([crop.original for crop in crops]))[:, :, None],
            "deformed": torch.from_numpy(np.stack([crop.deformed for crop in crops]))[:, :, None],
            "starts": torch.from_numpy(SPACING * np.stack([crop.start for crop in crops])).float(),
            "places": torch.from_numpy(np.float32(SPACING) * np.stack([crop.places for crop in crops])),
            "points": torch.from_numpy(np.stack([self._points(crop.original, rng) for crop in crops])),
        }

    def _points(self, images: NDArray[np.float32], rng: Generator) -> NDArray[np.int64]:
        """Voxels (K, 3) that are no background in more than half of the images (B, D, H, W), if `TRIES` find some."""
        found = rng.integers(images.shape[1:], size=(TRIES, self.points, 3))
        there = (images[:, *np.moveaxis(found, -1, 0)] >= BACKGROUND).sum(0) > len(images) // 2
        first = np.where(there.any(0), there.argmax(0), TRIES - 1)
        return np.asarray(found[first, np.arange(self.points)], np.int64)
