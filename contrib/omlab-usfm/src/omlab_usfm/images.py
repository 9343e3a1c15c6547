"""From an image to what a network sees, as upstream does it: squeezed into a square, ImageNet's colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from omlab_image import Image
from omlab_image.training.paired import Paired
from omlab_image.transforms import Evaluation, Pretraining, evaluation, pretraining, training

Augment = Callable[[Image, int], Tensor]


def whole(size: int) -> Evaluation:
    """For embedding and classification: `Image` -> [3, size, size], bicubic, whatever its aspect."""
    return evaluation(size, crop=1.0, aspect="ignore", interpolation="bicubic")


def whole_for_masks(size: int) -> Evaluation:
    """For segmentation: the same, bilinear."""
    return evaluation(size, crop=1.0, aspect="ignore", interpolation="bilinear")


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """What upstream trains classifiers on: the image as in evaluation, whatever the seed."""

    prepare: Evaluation

    def __call__(self, image: Image, seed: int) -> Tensor:
        """The image as [3, S, S]."""
        return self.prepare(image)


def for_classes(size: int, *, augment: bool) -> Augment:
    """How images are changed while a classifier is trained: by timm's usual augmentation, or as upstream not at all."""
    return training(size) if augment else Unchanged(prepare=whole(size))


def for_masks(size: int, *, augment: bool) -> Paired:
    """How images and labels are changed: mirrored and turned by right angles as upstream does, and parts cut out."""
    if augment:
        return Paired(size=size, vertical_flip=0.5, quarter_turns=True)
    return Paired(size=size, scale=(1.0, 1.0), flip=0.0, brightness=0.0)


def for_masking(size: int, *, least_area: float) -> Pretraining:
    """Parts of images, mirrored, with colours from 0 to 1: frequencies are stopped before they are normalised."""
    return pretraining(size, scale=(least_area, 1.0), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
