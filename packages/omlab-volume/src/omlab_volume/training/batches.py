"""Batches of random patches: a function of seed and number alone, sent to worker processes as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from omlab_volume.training.augment import augment, spatial_matrix
from omlab_volume.training.cases import PreparedCase
from omlab_volume.training.patches import cut, cut_turned, draw_start

FOREGROUND_PATCHES = 1 / 3


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchBatches:
    """Batches for `omlab_train.Recipe`. A third of the patches is placed on a voxel of a class, each equally likely.

    Attributes:
        cases: Where patches are cut out; only their voxels are read.
        patch_size: Z, Y, X voxels.
        batch_size: Patches in a batch.
        seed: What all randomness comes from.
        augment: Whether to change patches at random (`omlab_volume.training.augment`).
        mirror_axes: Axes of Z, Y, X that augmentation may flip.
    """

    cases: tuple[PreparedCase, ...]
    patch_size: tuple[int, ...]
    batch_size: int
    seed: int
    augment: bool
    mirror_axes: tuple[int, ...]

    def __call__(self, number: int) -> dict[str, Tensor]:
        """`image` (B, C, Z, Y, X) float32 and `labels` (B, Z, Y, X) int64 of a batch."""
        patches = [self._patch(np.random.default_rng([self.seed, number, n])) for n in range(self.batch_size)]
        images = np.stack([image for image, _ in patches])
        labels = np.stack([labels for _, labels in patches])
        return {"image": torch.from_numpy(images), "labels": torch.from_numpy(labels.astype(np.int64))}

    def _patch(self, rng: Generator) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
        case = self.cases[rng.integers(len(self.cases))]
        whole, classes = case.image, case.labels
        around = case.locations if rng.random() < FOREGROUND_PATCHES else None
        start = draw_start(classes.shape, rng, patch_size=self.patch_size, around=around)
        where: dict[str, Any] = {"start": start, "patch_size": self.patch_size}
        matrix = spatial_matrix(rng, patch_size=self.patch_size) if self.augment else None
        if matrix is None:
            image, labels = cut(whole, **where), cut(classes, **where)
        else:
            image = cut_turned(whole, **where, matrix=matrix, order=1)
            labels = cut_turned(classes, **where, matrix=matrix, order=0)
        if self.augment:
            image, labels = augment(image, labels, rng, mirror_axes=self.mirror_axes)
        return image, labels
