"""From an image to the square that the network sees, and back: intensities, channel order, resizing or padding.

Intensities are normalised first; then the image is brought to S x S pixels, either by taking the nearest pixel of each
axis, whatever the aspect, as the authors' predictor does, or, as their training does where both sides are smaller, by
zeros around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
"""Of the channels in the order in which the network gets them, on the scale 0 to 255."""

Fit = Literal["resize", "pad"]
ChannelOrder = Literal["bgr", "rgb"]


def nearest_index(size: int, to: int) -> NDArray[np.int64]:
    """The pixel, of `size`, that each of `to` pixels shows: floor(i * size / to)."""
    return np.arange(to, dtype=np.int64) * size // to


def normalised(pixels: NDArray[Any], *, order: ChannelOrder = "bgr") -> NDArray[np.float32]:
    """(H, W) grey or (H, W, 3) red, green, blue, of 0 to 255 -> (H, W, 3), normalised, channels in `order`.

    The published weights were trained on blue, green, red with the means and deviations of red, green, blue in that
    order: a slip of the authors that the weights need.
    """
    colours = np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels
    if order == "bgr":
        colours = colours[..., ::-1]
    return np.asarray((colours.astype(np.float32) - MEAN) / STD, np.float32)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How an image of `shape` (rows, columns) lies in the network's square of `side` pixels.

    `fit` "pad" pads an image whose sides are both smaller than the square; others, and all with "resize", are resized.
    """

    shape: tuple[int, int]
    side: int
    fit: Fit = "resize"

    @property
    def is_padded(self) -> bool:
        """Whether there are zeros around the image."""
        return self.fit == "pad" and max(self.shape) < self.side

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the square where a padded image begins."""
        return (self.side - self.shape[0]) // 2, (self.side - self.shape[1]) // 2

    def square(self, array: NDArray[Any]) -> NDArray[Any]:
        """An image or mask (H, W, ...) in the square (S, S, ...)."""
        if array.shape[:2] != self.shape:
            raise ValueError(f"The image is of {self.shape} pixels, not {array.shape[:2]}.")
        if not self.is_padded:
            rows, columns = (nearest_index(n, self.side) for n in self.shape)
            return array[rows[:, None], columns]
        top, left = self.corner
        filled = np.zeros((self.side, self.side, *array.shape[2:]), array.dtype)
        filled[top : top + self.shape[0], left : left + self.shape[1]] = array
        return filled

    def image(self, pixels: NDArray[Any], *, order: ChannelOrder) -> Tensor:
        """What the network gets of (H, W) or (H, W, 3) pixels of 0 to 255: (3, S, S)."""
        square = self.square(normalised(pixels, order=order))
        return torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))

    def places(self, xy: NDArray[np.float64]) -> Tensor:
        """Positions (n, 2), x and y in pixels of the image, in pixels of the square, unrounded; float32."""
        if self.is_padded:
            top, left = self.corner
            moved = xy + np.array([left, top], np.float64)
        else:
            moved = xy * (self.side / np.array([self.shape[1], self.shape[0]], np.float64))
        return torch.from_numpy(np.asarray(moved, np.float32))

    def back(self, low: Tensor) -> Tensor:
        """Low-resolution logits (N, M, M) on the image's pixels (N, H, W): bilinear to the square and to the image."""
        whole = _bilinear(low[:, None], (self.side, self.side))
        if self.is_padded:
            top, left = self.corner
            return whole[:, 0, top : top + self.shape[0], left : left + self.shape[1]]
        return _bilinear(whole, self.shape)[:, 0]


def _bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
