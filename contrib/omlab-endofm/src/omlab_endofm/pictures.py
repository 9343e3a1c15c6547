"""Pixels as the networks were trained to see them: the published presets, which all differ; cuts and colours of views.

Frames are (T, H, W, 3) uint8 of red, green and blue; tensors are (3, T, H, W), or (T, 3, H, W) where it says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Frames = NDArray[np.uint8]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DETECTION_MEAN = (102.9801, 115.9465, 122.7717)
"""Of blue, green and red, from 0 to 255."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How intensities become numbers: from `low` to `high`, less a mean, by a spread.

    Attributes:
        mean: Of each channel after it was divided by `white`.
        spread: Of each channel.
        white: What 0..255 is divided by first.
        blue_first: Channels go blue, green, red.
        stretched: Each frame from its own darkest to its own brightest value first.
    """

    mean: tuple[float, float, float]
    spread: tuple[float, float, float]
    white: float = 255.0
    blue_first: bool = False
    stretched: bool = False

    def __call__(self, frames: Tensor) -> Tensor:
        """(3, T, H, W) of red, green, blue from 0 to 255 -> what the network is given."""
        x = frames.flip(0) if self.blue_first else frames
        if self.stretched:
            low, high = (end(x, dim=(0, 2, 3), keepdim=True) for end in (torch.amin, torch.amax))
            x = (x - low) / (high - low).clamp(min=1e-8)
        else:
            x = x / self.white
        mean, spread = (torch.tensor(row).to(x)[:, None, None, None] for row in (self.mean, self.spread))
        return (x - mean) / spread


PRESETS = {
    "pretraining": Preset(mean=IMAGENET_MEAN, spread=IMAGENET_STD),
    "classification": Preset(mean=(0.45,) * 3, spread=(0.225,) * 3),
    "segmentation": Preset(mean=(0.5,) * 3, spread=(0.5,) * 3, blue_first=True, stretched=True),
    "detection": Preset(mean=DETECTION_MEAN, spread=(1.0,) * 3, white=1.0, blue_first=True),
}


def as_tensor(frames: Frames) -> Tensor:
    """(T, H, W, 3) uint8 -> (3, T, H, W) float32 from 0 to 255."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2).float()


def short_side(clip: Tensor, size: int) -> Tensor:
    """(3, T, H, W) made as much larger or smaller that its shorter side is `size`; bilinear, the longer one cut off."""
    H, W = clip.shape[2:]
    if min(H, W) == size:
        return clip
    new = (math.floor(H / W * size), size) if W <= H else (size, math.floor(W / H * size))
    return functional.interpolate(clip.transpose(0, 1), size=new, mode="bilinear").transpose(0, 1)


def square(clip: Tensor, size: int, *, place: int) -> Tensor:
    """A square (3, T, size, size) of a clip: 0 the left or upper one, 1 the middle, 2 the right or lower one."""
    H, W = clip.shape[2:]
    top, left = math.ceil((H - size) / 2), math.ceil((W - size) / 2)
    if W < H:
        top = (0, top, H - size)[place]
    else:
        left = (0, left, W - size)[place]
    return clip[:, :, top : top + size, left : left + size]


def cut(clip: Tensor, *, top: int, left: int, rows: int, columns: int, size: int) -> Tensor:
    """A part of (T, C, H, W), made `size` x `size`: bicubic without antialiasing, not held to the range."""
    part = clip[:, :, top : top + rows, left : left + columns]
    return functional.interpolate(part, size=(size, size), mode="bicubic")


_GREY = (0.114, 0.587, 0.299)
"""Of the channels in their order: upstream took red for blue, and its networks were trained so."""


def grey(clip: Tensor) -> Tensor:
    """(T, 3, H, W) -> the same shape, grey."""
    weights = torch.tensor(_GREY).to(clip)[:, None, None]
    return (clip * weights).sum(dim=1, keepdim=True).expand_as(clip)


def brightness(clip: Tensor, factor: float) -> Tensor:
    """(T, 3, H, W) made brighter or darker: blended with black."""
    return clip * factor


def contrast(clip: Tensor, factor: float) -> Tensor:
    """(T, 3, H, W) blended with the mean grey of each frame."""
    return factor * clip + (1 - factor) * grey(clip)[:, :1].mean(dim=(1, 2, 3), keepdim=True)


def saturation(clip: Tensor, factor: float) -> Tensor:
    """(T, 3, H, W) blended with its grey."""
    return factor * clip + (1 - factor) * grey(clip)
