"""The recipes: fine-tuning to classes and masked autoencoding, with upstream's constants (they stand in the cards)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omlab.roles import Dataset
from omlab_image.training.classification import ClassificationRecipe
from omlab_image.training.self_supervised import SelfSupervisedRecipe
from omlab_image.transforms import fundus_crop
from omlab_retfound.images import fine_tuning, masking, transform
from omlab_retfound.vit import UNDECAYED

if TYPE_CHECKING:
    from omlab_retfound.model import RetFoundModel


def classification(
    model: RetFoundModel, data: Dataset, *, settings: Mapping[str, Any], seed: int
) -> ClassificationRecipe:
    """Fine-tuning as upstream's README has it: layer-wise decay, no decay of tokens and positions, RandAugment."""
    config = model.module.config
    seen: dict[str, Any] = {"size": config.size, "normalisation": model.normalisation}
    return ClassificationRecipe(
        module=model.module,
        layers=model.layers(),
        data=data,
        classes=model.task.classes,
        augment=fine_tuning(config.form, **seen),
        prepare=transform(config.form, **seen),
        settings=settings,
        seed=seed,
        before=fundus_crop if model.settings["crop"] == "fundus" else None,
        undecayed=UNDECAYED,
    )


def masked(model: RetFoundModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> SelfSupervisedRecipe:
    """Masked autoencoding: one rate for all layers, and decay of tokens, as upstream's."""
    config = model.module.config
    return SelfSupervisedRecipe(
        module=model.module,
        data=data,
        views=masking(
            config.form, size=config.size, normalisation=model.normalisation, least_area=settings["least_area"]
        ),
        settings=settings,
        seed=seed,
        before=fundus_crop if model.settings["crop"] == "fundus" else None,
    )
