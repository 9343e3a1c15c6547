"""The recipe of networks of timm: fine-tuning to classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omlab.roles import Dataset
from omlab_image.training.classification import ClassificationRecipe
from omlab_image.transforms import Evaluation, training
from omlab_timm.network import undecayed

if TYPE_CHECKING:
    from omlab_timm.model import TimmModel


def classification(model: TimmModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> ClassificationRecipe:
    """Fine-tuning with timm's augmentation at the network's size and colours (`omlab_image.training`)."""
    see: Evaluation = model.transform
    augment = training(see.size, interpolation=see.interpolation, mean=see.mean, std=see.std)
    return ClassificationRecipe(
        module=model.module,
        layers=model.layers(),
        data=data,
        classes=model.task.classes,
        augment=augment,
        prepare=see,
        settings=settings,
        seed=seed,
        undecayed=undecayed(model.module),
    )
