"""Cubes of the working grid in an image: where they lie, what they show, and how their logits come back.

Arrays are along the image's axes in their closest RAS+ order; `places` are positions in voxels of that image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Region = tuple[slice, slice, slice]

NOWHERE = -1e4
"""The logit where no window reaches: surely background, and finite, so that it can be interpolated."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A cube of the working grid: `first` is its voxel 0 in voxels of the image, `ratio` its voxel's size there."""

    first: Array
    ratio: Array
    side: int

    def places(self, axis: int) -> Array:
        """Where its voxels lie along an axis, in voxels of the image."""
        return np.asarray(self.first[axis] + np.arange(self.side) * self.ratio[axis], np.float64)

    def moved(self, voxels: NDArray[np.int_]) -> Window:
        """The cube that lies `voxels` (3,) of the working grid further on."""
        return Window(first=self.first + voxels * self.ratio, ratio=self.ratio, side=self.side)

    def nearest(self, at: Array) -> NDArray[np.int64]:
        """The voxels of the cube, or beyond it, that positions (N, 3) in the image lie in."""
        # what arithmetic leaves of a half must not decide between two voxels
        return np.rint(np.round((at - self.first) / self.ratio, 6)).astype(np.int64)

    def holds(self, voxels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the voxels (N, 3) are its own."""
        return np.asarray(((voxels >= 0) & (voxels < self.side)).all(axis=1))

    def image(self, source: Tensor) -> Tensor:
        """What the cube shows of an image (I, J, K): linear between voxels, zero outside; (S, S, S)."""
        for axis in range(3):
            source = along(source, self.places(axis), axis=axis)
        return source

    def reach(self, shape: tuple[int, ...]) -> Region:
        """The voxels of an image of `shape` whose centres lie in the cube."""
        slices = []
        for axis, size in enumerate(shape):
            places = (np.arange(size) - self.first[axis]) / self.ratio[axis]
            reached = np.flatnonzero((places >= -0.5) & (places < self.side - 0.5))
            slices.append(slice(int(reached[0]), int(reached[-1]) + 1))
        return slices[0], slices[1], slices[2]

    def back(self, canvas: Tensor, region: Region) -> NDArray[np.float32]:
        """The cube's `canvas` (S, S, S) at the voxels of a region of the image."""
        for axis, part in enumerate(region):
            places = (np.arange(part.start, part.stop) - self.first[axis]) / self.ratio[axis]
            canvas = along(canvas, places, axis=axis, outside=NOWHERE)
        found: NDArray[np.float32] = canvas.numpy()
        return found


def along(array: Tensor, places: Array, *, axis: int, outside: float = 0) -> Tensor:
    """Linear interpolation along one axis; `outside` beyond the half voxel past the outermost centres."""
    size = array.shape[axis]
    at = np.clip(places, 0, size - 1)
    low = np.minimum(np.floor(at).astype(np.int64), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    shape = [-1 if n == axis else 1 for n in range(3)]
    fraction = torch.from_numpy((at - low).astype(np.float32)).reshape(shape)
    found = array.index_select(axis, torch.from_numpy(low)) * (1 - fraction)
    found = found + array.index_select(axis, torch.from_numpy(high)) * fraction
    beyond = torch.from_numpy((places < -0.5) | (places > size - 0.5)).reshape(shape)
    return found.masked_fill(beyond, outside)


def z_normalise(image: Tensor) -> Tensor:
    """(v - mean) / std with mean and (n - 1) std of the voxels > 0, applied to every voxel, padding included.

    For CT in HU the scale is thus set by soft tissue and bone. Where fewer than two voxels are positive, or all
    are equal, those numbers do not exist: mean and std of all voxels, or a std of 1, take their place.
    """
    positive = image[image > 0]
    chosen = (positive if positive.numel() > 1 else image.flatten()).double()  # squares of large values overflow
    std = chosen.std() if chosen.numel() > 1 else torch.zeros_like(chosen.sum())
    return ((image.double() - chosen.mean()) / (std if std > 0 else torch.ones_like(std))).float()


def crop_start(low: NDArray[np.int_], high: NDArray[np.int_], *, side: int) -> NDArray[np.int_]:
    """The first voxel of the cube that training shows of an object whose voxels lie in low..high, both included.

    The cube's voxel side / 2 is the middle of the object's box, the lower one of two; below 0 or beyond the
    image the cube is filled with zeros.
    """
    return (low + high + 1) // 2 - side // 2
