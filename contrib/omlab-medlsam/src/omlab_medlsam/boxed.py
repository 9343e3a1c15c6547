"""MedSAM: boxes in a picture become masks (Ma et al., "Segment anything in medical images", arXiv 2304.12306).

SAM's network at 1024 pixels. It differs from SAM in what it is shown, [0, 1] by the least and the greatest value of the
picture, and in that probabilities, not logits, are brought to the picture's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from omlab_sam.network import Sam

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""SAM's, on 0 to 255."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxSegmenter:
    """A network, and how pictures are put to it.

    Attributes:
        sam: In eval mode, on the device that is to be used.
        legacy: Whether pictures are normalised by SAM's mean and standard deviation, not to [0, 1].
    """

    sam: Sam
    legacy: bool = False

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.sam.mask_decoder.iou_token.weight.device

    def square(self, pixels: NDArray[np.generic]) -> Tensor:
        """A picture (H, W) or (H, W, 3) of 0 to 255 as the network sees it, (1, 3, S, S)."""
        colours = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).to(self.device)
        image = colours.expand(3, -1, -1) if colours.ndim == 2 else colours.movedim(-1, 0)
        size = (self.sam.image_size,) * 2
        image = functional.interpolate(image[None], size=size, mode="bicubic", antialias=True, align_corners=False)
        image = image.clamp(0, 255).floor()  # as cast to 8 bits
        if self.legacy:
            mean, std = (image.new_tensor(values)[:, None, None] for values in (MEAN, STD))
            return (image - mean) / std
        low, high = image.min(), image.max()
        return (image - low) / (high - low).clamp(min=1e-8)

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.generic]) -> Tensor:
        """The embedding (1, C, S/16, S/16) of a picture."""
        found: Tensor = self.sam.image_encoder(self.square(pixels))
        return found

    @torch.inference_mode()
    def probabilities(self, embedding: Tensor, boxes: NDArray[np.floating], *, shape: tuple[int, int]) -> Tensor:
        """How probable the object of each box is at each pixel of the picture, (N, H, W).

        Args:
            embedding: Of the picture.
            boxes: (N, 4) x0, y0, x1, y1 in pixels of the picture.
            shape: Rows and columns of the picture.
        """
        height, width = shape
        scale = self.sam.image_size / np.array([width, height, width, height])
        corners = torch.from_numpy(np.asarray(boxes * scale, np.float32)).to(self.device)
        logits, _ = self.sam.decode(embedding, boxes=corners, multimask=False)
        return resized_probabilities(logits, shape=shape)[:, 0]


def resized_probabilities(logits: Tensor, *, shape: tuple[int, int]) -> Tensor:
    """The sigmoid of low-resolution logits (N, 1, M, M), then bilinear on (N, 1, H, W)."""
    return functional.interpolate(torch.sigmoid(logits), size=shape, mode="bilinear", align_corners=False)
