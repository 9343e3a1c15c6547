"""The recipes: deblurring and plain masked autoencoding, classification, segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omlab.roles import Dataset
from omlab_deblurmim.blur import Blur
from omlab_deblurmim.images import BlurredAndSharp, BlurredPaired, whole
from omlab_deblurmim.losses import mask_loss, with_background
from omlab_deblurmim.weights import layers_of, undecayed_of
from omlab_image.training import ClassificationRecipe, SegmentationRecipe, SelfSupervisedRecipe
from omlab_image.transforms import pretraining
from omlab_image.transforms import training as augmentation

if TYPE_CHECKING:
    from omlab_deblurmim.model import DeblurMimModel

Recipe = ClassificationRecipe | SegmentationRecipe | SelfSupervisedRecipe


def deblurring(model: DeblurMimModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> SelfSupervisedRecipe:
    """Blurred images with most patches removed are painted sharp; blurred as they are read, before a part is cut."""
    part = pretraining(model.size, scale=(settings["least_area"], 1.0))
    return SelfSupervisedRecipe(
        module=model.module,
        data=data,
        views=BlurredAndSharp(blur=model.blur or Blur(), part=part),
        settings=settings,
        seed=seed,
    )


def masked(model: DeblurMimModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> SelfSupervisedRecipe:
    """Images with most patches removed are painted again there, as MAE and ConvMAE do."""
    return SelfSupervisedRecipe(
        module=model.module,
        data=data,
        views=pretraining(model.size, scale=(settings["least_area"], 1.0)),
        settings=settings,
        seed=seed,
    )


def classification(
    model: DeblurMimModel, data: Dataset, *, settings: Mapping[str, Any], seed: int
) -> ClassificationRecipe:
    """Cross-entropy of classes of images that are blurred as in pre-training."""
    return ClassificationRecipe(
        module=model.module,
        layers=model.layers(),
        data=data,
        classes=model.task.classes,
        augment=augmentation(model.size),
        prepare=whole(model.size),
        settings=settings,
        seed=seed,
        before=model.before,
        undecayed=undecayed_of(model.module),
    )


def segmentation(model: DeblurMimModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> SegmentationRecipe:
    """The Dice loss of masks of half the size of images that are blurred as in pre-training."""
    return SegmentationRecipe(
        module=model.module,
        layers=layers_of(model.module),
        data=data,
        classes=model.task.values,
        pair=BlurredPaired(size=model.size, vertical_flip=0.5, before=model.before),
        settings=settings,
        seed=seed,
        loss=mask_loss,
        logits=with_background,
        undecayed=undecayed_of(model.module),
    )


RECIPES = {
    "deblurring": deblurring,
    "masked": masked,
    "classification": classification,
    "segmentation": segmentation,
}
