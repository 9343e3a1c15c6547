"""Both recipes: `segmentation`, PyMIC's fine-tuning, and `volume-fusion`, pre-training without labels.

Adam at 1e-3 with weight decay 1e-5, half Dice and half cross-entropy at every level. Fine-tuning lets the rate fall by
a polynomial of power 0.8, pre-training halves it after each quarter. Source: fact sheet of MIS-FM, 6 and 7.

Fine-tuning differs from PyMIC's in three things: images are normalised as wholes in training as in prediction (there,
training patches by themselves); a third of the patches holds a voxel of some class (there, none is preferred); the
weights of the last step are kept (there, the best of a validation set).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from omlab.digests import digest_of
from omlab.errors import TrainingError
from omlab.roles import About, Dataset
from omlab_misfm.batches import FlippedBatches, FusionBatches, fused
from omlab_misfm.losses import deep_supervision_loss
from omlab_misfm.plan import checked_blocks, checked_range
from omlab_train import Group, Optimisation, schedules
from omlab_volume.training.batches import PatchBatches
from omlab_volume.training.cases import prepared_cases
from omlab_volume.training.images import prepared_images
from omlab_volume.training.targets import label_values, volume_name

if TYPE_CHECKING:
    from omlab_misfm.model import MisfmModel

Fall = Literal["polynomial", "halved"]

HOW = Optimisation(optimizer="adam")
WEIGHT_DECAY = 1e-5
POWER = 0.8
HU = (-1000.0, 1000.0)
"""What CT is cut to for pre-training."""


class PymicRecipe:
    """Trains `module` on batches; fulfils `omlab_train.Recipe`.

    Args:
        module: In training mode gives a tuple of logits, full resolution first.
        batches: From the number of a batch to the batch.
        examples: Images (B, C, Z, Y, X) and labels (B, Z, Y, X) of a batch on its device.
        settings: `epochs`, `steps_per_epoch` and `learning_rate`.
        fall: How the rate falls.
        data: What the batches depend on, for the fingerprint.
        ignore: The label of voxels that do not count.

    Raises:
        TrainingError: The learning rate is 0.
    """

    how = HOW

    def __init__(
        self,
        *,
        module: nn.Module,
        batches: Callable[[int], Any],
        examples: Callable[[Any], tuple[Tensor, Tensor]],
        settings: Mapping[str, Any],
        fall: Fall,
        data: Any,
        ignore: int | None = None,
    ) -> None:
        if settings["learning_rate"] <= 0:
            raise TrainingError(f"learning_rate must be above 0, not {settings['learning_rate']}.")
        self.module, self.batches = module, batches
        self.epoch = int(settings["steps_per_epoch"])
        self.steps = self.epoch * int(settings["epochs"])
        self.learning_rate = float(settings["learning_rate"])
        self.fingerprint = digest_of([fall, data])
        self._examples, self._fall, self._ignore = examples, fall, ignore

    def groups(self) -> list[Group]:
        """All parameters that are used, at one rate."""
        used = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        return [{"params": used, "lr": self.learning_rate, "weight_decay": WEIGHT_DECAY}]

    def schedule(self, step: int) -> float:
        """(1 - epoch / epochs)^0.8, the same for all steps of an epoch; or half as much after each quarter of steps."""
        if self._fall == "halved":
            return float(0.5 ** (4 * step // self.steps))
        return schedules.poly(step // self.epoch * self.epoch, steps=self.steps, power=POWER)

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float]]:
        """The loss over all levels."""
        images, labels = self._examples(batch)
        outputs = self.module(images)
        levels = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        return deep_supervision_loss(levels, labels, ignore=self._ignore), {}

    def validate(self) -> None:
        """Nothing: there is no set for it."""


def segmentation(model: MisfmModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> PymicRecipe:
    """Fine-tuning on the training split of `data`; `model` stays as it is.

    Raises:
        TrainingError: A case has no labels, or a number cannot be.
        InputError: A case cannot be used; names it.
    """
    about = data.about("train")
    values, plan = label_values(about), model.plan
    cases = prepared_cases(
        data.cases("train"),
        plan,
        input=volume_name(about),
        classes=values,
        ignored=about.ignored,
        channels=model.module.config.in_channels,
    )
    patches = PatchBatches(
        cases=tuple(cases),
        patch_size=plan.patch_size,
        batch_size=settings["patches"],
        seed=seed,
        augment=False,
        mirror_axes=(),
    )
    axes = model.task.mirror_axes
    return PymicRecipe(
        module=model.module,
        batches=FlippedBatches(patches=patches, axes=axes),
        examples=_labelled,
        settings=settings,
        fall="polynomial",
        data=[plan.patch_size, settings["patches"], seed, axes, [[case.id, case.digest] for case in cases]],
        ignore=len(values) + 1 if about.ignored else None,
    )


def fusion(model: MisfmModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> PymicRecipe:
    """Pre-training on the volumes of the training split of `data`; `model` stays as it is.

    Raises:
        TrainingError: A case has no volume, or a number cannot be.
        InputError: A case cannot be used; names it.
        SettingsError: `clip`, `smallest_block` or `largest_block` cannot be.
    """
    about = data.about("train")
    name, size = volume_name(about), model.plan.patch_size
    images = prepared_images(
        data.cases("train"),
        replace(model.plan, normalisation="none"),
        input=name,
        channels=model.module.config.in_channels,
        clip=checked_range(settings["clip"]) or _clip(about, name),
    )
    smallest, largest = checked_blocks(settings["smallest_block"], settings["largest_block"], patch=size)
    return PymicRecipe(
        module=model.module,
        batches=FusionBatches(
            images=tuple(images),
            size=size,
            batch_size=settings["patches"],
            seed=seed,
            smallest=smallest,
            largest=largest,
        ),
        examples=fused,
        settings=settings,
        fall="halved",
        data=[size, smallest, largest, settings["patches"], seed, [[image.id, image.digest] for image in images]],
    )


def _labelled(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    return batch["image"], batch["labels"]


def _clip(about: About, name: str) -> tuple[float, float] | None:
    """The range of CT, where all volumes are known to be CT."""
    return HU if list(about.facts.get(name, {}).get("intensities", ())) == ["hu"] else None
