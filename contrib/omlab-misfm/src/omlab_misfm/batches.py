"""Batches of both recipes: a function of seed and number alone, sent to worker processes as they are."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omlab_kernels import volume_fusion
from omlab_misfm.draws import Draws
from omlab_misfm.fusion import CLASSES, draw_blocks
from omlab_misfm.levels import Triple
from omlab_misfm.patches import SCALES, Image, two_patches
from omlab_train.settings import mixed_seed
from omlab_volume.training.batches import PatchBatches
from omlab_volume.training.images import PreparedImage


@dataclass(frozen=True, eq=False, kw_only=True)
class FlippedBatches:
    """Random patches with their labels, each flipped along each of some axes with probability 1/2.

    Attributes:
        patches: Where they come from.
        axes: Of (z, y, x), those that are flipped.
    """

    patches: PatchBatches
    axes: tuple[int, ...]

    def __call__(self, number: int) -> dict[str, Tensor]:
        """`image` (B, C, Z, Y, X) float32 and `labels` (B, Z, Y, X) int64 of a batch."""
        batch = self.patches(number)
        draws = random.Random(mixed_seed(self.patches.seed, number))  # noqa: S311 - repeatable, not secret
        for image, labels in zip(batch["image"], batch["labels"], strict=True):
            chosen = [axis - 3 for axis in self.axes if draws.random() < 0.5]
            if chosen:
                image.copy_(image.flip(chosen))
                labels.copy_(labels.flip(chosen))
        return batch


@dataclass(frozen=True, eq=False, kw_only=True)
class FusionBatches:
    """Pairs of patches of one volume, and the blocks by which they are to be fused.

    The fusing (`fused`) is left to the device that trains.

    Attributes:
        images: Volumes.
        size: Of a patch (z, y, x).
        batch_size: Pairs in a batch.
        seed: What all randomness comes from.
        smallest: The shortest sides of a block.
        largest: The longest.
    """

    images: tuple[PreparedImage, ...]
    size: Triple
    batch_size: int
    seed: int
    smallest: Triple
    largest: Triple

    def __call__(self, number: int) -> dict[str, Any]:
        """`first` and `second` (B, C, Z, Y, X), and for each pair its `classes` (a, b, c), `block` and `offset`."""
        pairs, blocks = [], []
        for n in range(self.batch_size):
            draws = random.Random(mixed_seed(self.seed, number, n))  # noqa: S311 - repeatable, not secret
            image = self.images[draws.randint(0, len(self.images) - 1)].image
            pairs.append(two_patches(part_of(image, draws, size=self.size), draws, size=self.size))
            blocks.append(draw_blocks(self.size, draws, smallest=self.smallest, largest=self.largest))
        first, second = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
        return {
            "first": first,
            "second": second,
            "classes": [one.classes for one in blocks],
            "block": [list(one.block) for one in blocks],
            "offset": [list(one.offset) for one in blocks],
        }


def part_of(image: Image, draws: Draws, *, size: Sequence[int]) -> Image:
    """A random part of `image` (C, Z, Y, X), 1.5 times as large as a patch, from which both patches are cropped.

    Published: volumes were cut into parts of 96 x 192 x 192 beforehand.
    """
    sides = [min(have, math.ceil(n * SCALES[1])) for n, have in zip(size, image.shape[1:], strict=True)]
    starts = [draws.randint(0, have - side) for side, have in zip(sides, image.shape[1:], strict=True)]
    z, y, x = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return image[:, z, y, x]


def fused(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Images (B, C, Z, Y, X) and labels (B, Z, Y, X) int64 of a batch of `FusionBatches`, where its tensors are."""
    rows = zip(batch["first"], batch["second"], batch["classes"], batch["block"], batch["offset"], strict=True)
    found = [
        volume_fusion(first, second, classes, block=block, offset=offset, count=CLASSES - 1)
        for first, second, classes, block, offset in rows
    ]
    images, labels = (torch.stack(one) for one in zip(*found, strict=True))
    return images, labels.long()
