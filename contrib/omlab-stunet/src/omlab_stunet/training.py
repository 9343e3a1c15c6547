"""The recipe `segmentation`: nnU-Net's loss and schedule with deep supervision; or beside old classes that are kept.

Where old classes are kept, a case labels only the new ones, and old structures lie in what it calls background. The
loss then adds up the probabilities of background and kept classes (the marginal loss of Shi et al., "Marginal loss and
exclusion loss for partially supervised multi-organ segmentation", Medical Image Analysis 70, 2021): log-sum-exp of
their logits. How much of the old classes is left is measured after every epoch against the network before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from omlab.roles import Dataset
from omlab_stunet.network import StuNet
from omlab_stunet.retarget import taught_outputs
from omlab_train.losses import deep_supervision_loss, dice_cross_entropy
from omlab_volume.training.cases import prepared_cases
from omlab_volume.training.segmentation import NNUNET, Loss, SegmentationRecipe
from omlab_volume.training.targets import label_values, volume_name

if TYPE_CHECKING:
    from omlab_stunet.model import StuNetModel

LONG_TRAINING = 25_000
"""Steps from which on nnU-Net's momentum of 0.99 has time to settle; shorter trainings take 0.9."""
SHORT = replace(NNUNET, momentum=0.9)
LOOKED_AT = 4
"""Batches on which it is measured how much of the kept classes is left."""


def segmentation(model: StuNetModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> SegmentationRecipe:
    """The recipe for the training split of `data`; `model` stays as it is.

    Raises:
        TrainingError: A case has no labels, or a number cannot be.
        InputError: A case cannot be used; names it.
    """
    about = data.about("train")
    values = label_values(about)
    steps = settings["epochs"] * settings["steps_per_epoch"]
    how: dict[str, Any] = {
        "module": model.module,
        "cases": prepared_cases(
            data.cases("train"),
            model.plan,
            input=volume_name(about),
            classes=values,
            ignored=about.ignored,
            channels=model.module.config.in_channels,
        ),
        "patch_size": model.plan.patch_size,
        "batch_size": settings["windows"],
        "steps_per_epoch": settings["steps_per_epoch"],
        "epochs": settings["epochs"],
        "learning_rate": settings["learning_rate"],
        "seed": seed,
        "how": NNUNET if steps >= LONG_TRAINING else SHORT,
        "augment": settings["augment"],
        "mirror_axes": model.task.mirror_axes,
    }
    level_loss = partial(dice_cross_entropy, ignore=len(values) + 1 if about.ignored else None)
    loss: Loss = partial(deep_supervision_loss, level_loss=level_loss)
    if not model.task.kept or model.before is None:
        return SegmentationRecipe(loss=loss, **how)
    loss = marginal_loss(loss, kept=model.task.kept, taught=taught_outputs(about, model.task.labels))
    return KeepingRecipe(loss=loss, before=model.before, kept=model.task.kept, **how)


def marginal_loss(loss: Loss, *, kept: Sequence[int], taught: Sequence[int]) -> Loss:
    """`loss` of the classes that a case labels.

    Args:
        loss: Of outputs for the background and what is taught.
        kept: Outputs that no case labels: they count as background.
        taught: The output of label 1, 2, ... of the cases.
    """

    def marginal(outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
        return loss([merged(level, kept=kept, taught=taught) for level in outputs], labels)

    return marginal


def merged(logits: Tensor, *, kept: Sequence[int], taught: Sequence[int]) -> Tensor:
    """Logits (B, 1 + len(taught), ...) of logits (B, K, ...): the first is background or any kept class."""
    rest = logits[:, [0, *kept]].logsumexp(dim=1, keepdim=True)
    return torch.cat([rest, logits[:, list(taught)]], dim=1)


class KeepingRecipe(SegmentationRecipe):
    """As `SegmentationRecipe`, and after every epoch how much of the kept classes is left.

    Args:
        before: The network before, whose outputs 0..K are the first of `module`'s.
        kept: Its outputs that are kept.
        more: As of `SegmentationRecipe`.
    """

    def __init__(self, *, before: StuNet, kept: Sequence[int], **more: Any) -> None:
        super().__init__(**more)
        self.before, self.kept = before, list(kept)

    def validate(self) -> Mapping[str, float]:  # type: ignore[override]  # the parent has none
        """`kept_dice`: mean Dice of the kept classes between the network before and now, on training windows."""
        device = next(self.module.parameters()).device
        found: list[float] = []
        for number in range(LOOKED_AT):
            image = self.batches(number)["image"].to(device)
            old = self.before.to(device).eval()(image).argmax(dim=1)
            new = self.module(image)
            new = (new if isinstance(new, Tensor) else new[0]).argmax(dim=1)
            for output in self.kept:
                sizes = int((old == output).sum()) + int((new == output).sum())
                if sizes:
                    found.append(2 * int(((old == output) & (new == output)).sum()) / sizes)
        return {"kept_dice": sum(found) / len(found) if found else 1.0}
