"""The recipes: classification, segmentation, and pre-training by masks of both kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omlab.errors import TrainingError
from omlab.roles import Dataset
from omlab_image.training import ClassificationRecipe, SegmentationRecipe, SelfSupervisedRecipe
from omlab_usfm.images import for_classes, for_masking, for_masks, whole
from omlab_usfm.losses import segvit_loss, upernet_loss
from omlab_usfm.pretraining import SpatialFrequency
from omlab_usfm.segmentation import SegVit
from omlab_usfm.weights import layers_of, undecayed_of

if TYPE_CHECKING:
    from omlab_usfm.model import UsfmModel

Recipe = ClassificationRecipe | SegmentationRecipe | SelfSupervisedRecipe


def classification(model: UsfmModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> ClassificationRecipe:
    """Cross-entropy of classes, with layer-wise decay; unlike upstream's cases are shuffled."""
    size = model.size
    return ClassificationRecipe(
        module=model.module,
        layers=layers_of(model.module),
        data=data,
        classes=model.task.classes,
        augment=for_classes(size, augment=settings["augment"]),
        prepare=whole(size),
        settings=settings,
        seed=seed,
        undecayed=undecayed_of(model.module),
    )


def segmentation(model: UsfmModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> SegmentationRecipe:
    """SegViT's loss, or UPerNet's; images are squeezed into a square."""
    return SegmentationRecipe(
        module=model.module,
        layers=layers_of(model.module),
        data=data,
        classes=model.task.values,
        pair=for_masks(model.size, augment=settings["augment"]),
        settings=settings,
        seed=seed,
        loss=segvit_loss if isinstance(model.module, SegVit) else upernet_loss,
        undecayed=undecayed_of(model.module),
    )


def spatial_frequency(
    model: UsfmModel, data: Dataset, *, settings: Mapping[str, Any], seed: int
) -> SelfSupervisedRecipe:
    """Both errors of images that both masks have been laid on (`omlab_usfm.pretraining`)."""
    if not isinstance(model.module, SpatialFrequency):
        raise TrainingError("The network has no decoder: retarget it for 'spatial-frequency' first.")
    return SelfSupervisedRecipe(
        module=model.module,
        data=data,
        views=for_masking(model.size, least_area=settings["least_area"]),
        settings=settings,
        seed=seed,
        undecayed=undecayed_of(model.module),
    )


RECIPES = {
    "classification": classification,
    "segmentation": segmentation,
    "spatial-frequency": spatial_frequency,
}
