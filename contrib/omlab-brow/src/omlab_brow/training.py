"""The recipes: fine-tuning to classes, and self-distillation with DINO's constants (they stand in the cards)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omlab.errors import SettingsError
from omlab.roles import Dataset
from omlab_brow.views import MultiCrop
from omlab_image.training.classification import ClassificationRecipe
from omlab_image.training.self_distillation import SelfDistillationRecipe
from omlab_image.transforms import training

if TYPE_CHECKING:
    from omlab_brow.model import BrowModel

_UNDECAYED = ("cls_token", "pos_embed")


def classification(model: BrowModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> ClassificationRecipe:
    """Fine-tuning to classes: layer-wise decay, a part of the patch, mirrored and turned over, RandAugment."""
    return ClassificationRecipe(
        module=model.module,
        layers=model.layers(),
        data=data,
        classes=model.task.classes,
        augment=training(model.seen.size, vertical_flip=0.5),
        prepare=model.seen,
        settings=settings,
        seed=seed,
        undecayed=_UNDECAYED,
    )


class BrowDistillation(SelfDistillationRecipe):
    """DINO's recipe on the views of patches; trains `omlab_brow.distillation.SelfDistillation`."""

    def __init__(self, model: BrowModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        views = MultiCrop(
            size=model.seen.size,
            local_size=settings["local_size"],
            local_views=settings["local_views"],
            parts=(settings["least_part"], 1.0),
            local_parts=(settings["least_local_part"], settings["least_part"]),
            surroundings=settings["surroundings"],
        )
        _check(views, settings, patch=model.module.config.patch)
        super().__init__(module=model.module, data=data, views=views, settings=settings, seed=seed)


def _check(views: MultiCrop, settings: Mapping[str, Any], *, patch: int) -> None:
    for name, size in (("size", views.size), ("local_size", views.local_size)):
        if size < patch:
            raise SettingsError(f"{name} is {size} pixels, but must be at least a patch, {patch}.")
    if not views.local_parts[0] <= views.local_parts[1]:
        raise SettingsError(
            f"least_local_part is {views.local_parts[0]}, but must be at most least_part, {views.local_parts[1]}."
        )
    grid = settings["shuffle"]
    if grid > 1 and views.size % (grid * patch):
        raise SettingsError(
            f"shuffle is {grid}, but {grid} x {grid} tiles of whole patches ({patch} pixels) do not fill {views.size}."
        )
    if 0 < views.surroundings <= 1:
        raise SettingsError(f"surroundings is {views.surroundings}, but must be above 1 (or 0 for none).")
