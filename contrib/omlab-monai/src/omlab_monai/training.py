"""The recipe `segmentation`: Dice + cross-entropy on random windows, AdamW, a poly learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from omlab.roles import Dataset
from omlab_train import Optimisation
from omlab_train.losses import dice_cross_entropy
from omlab_volume.training.cases import prepared_cases
from omlab_volume.training.segmentation import SegmentationRecipe
from omlab_volume.training.targets import label_values, volume_name

if TYPE_CHECKING:
    from omlab_monai.model import MonaiModel

ADAMW = Optimisation(optimizer="adamw", max_grad_norm=12.0)


def segmentation(model: MonaiModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> SegmentationRecipe:
    """The recipe for the training split of `data`; `model` stays as it is.

    Raises:
        TrainingError: A case has no labels, or a number cannot be.
        InputError: A case cannot be used; names it.
    """
    about = data.about("train")
    values = label_values(about)
    cases = prepared_cases(
        data.cases("train"),
        model.plan,
        input=volume_name(about),
        classes=values,
        ignored=about.ignored,
        channels=model.shape.in_channels,
    )
    return SegmentationRecipe(
        module=model.module,
        cases=cases,
        patch_size=model.plan.patch_size,
        batch_size=settings["windows"],
        steps_per_epoch=settings["steps_per_epoch"],
        epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        loss=partial(_loss, ignore=len(values) + 1 if about.ignored else None),
        seed=seed,
        how=ADAMW,
        augment=settings["augment"],
        mirror_axes=model.task.mirror_axes,
    )


def _loss(outputs: Sequence[Tensor], labels: Tensor, *, ignore: int | None) -> Tensor:
    return dice_cross_entropy(outputs[0], labels, ignore=ignore)
