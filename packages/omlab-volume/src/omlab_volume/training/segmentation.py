"""The recipe of nnU-Net's trainer for segmentation: random patches, SGD, a poly learning rate.

`SegmentationRecipe` is what `omlab_train.fit` trains; the loss is given to it:

    cases = prepared_cases(data.cases("train"), plan)
    recipe = SegmentationRecipe(module=module, cases=cases, patch_size=plan.patch_size, ..., loss=loss, seed=0)
    history = omlab_train.fit(recipe, folder=folder, device="cpu", seed=0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from omlab.digests import digest_of
from omlab.errors import TrainingError
from omlab_train import Group, Optimisation, schedules
from omlab_volume.training.batches import PatchBatches
from omlab_volume.training.cases import PreparedCase

Loss = Callable[[Sequence[Tensor], Tensor], Tensor]

NNUNET = Optimisation(optimizer="sgd", momentum=0.99, nesterov=True, max_grad_norm=12.0, find_unused_parameters=True)
"""nnU-Net's own. Deep supervision gives the lowest level weight 0, so that its head has no gradient.

A momentum of 0.99 is for many thousands of steps; a few hundred do better with 0.9.
"""
WEIGHT_DECAY = 3e-5


class SegmentationRecipe:
    """Trains `module` to segment patches of `cases`; fulfils `omlab_train.Recipe`.

    Weight decay 3e-5, the poly learning rate set once an epoch. A third of the patches is placed on a voxel of a class,
    each class equally likely. Patch, case and augmentation are functions of seed and batch alone.

    Args:
        module: Takes (B, C, Z, Y, X) float32; in training mode gives logits (B, K, Z, Y, X), or a sequence of
            them with full resolution first (deep supervision).
        cases: What to train on.
        patch_size: Z, Y, X voxels that the network takes.
        batch_size: Patches in a batch.
        steps_per_epoch: Steps between two checkpoints and two rates.
        epochs: Epochs in all.
        learning_rate: The first one.
        loss: Of the outputs (always a list) and the labels (B, Z, Y, X) int64.
        seed: What all randomness comes from.
        how: The parts of the loop.
        augment: Whether to change patches at random (`omlab_volume.training.augment`).
        mirror_axes: Axes of Z, Y, X that augmentation may flip. Classes that differ by their side alone (left
            and right kidney) are told apart better where the left-right axis is left out.

    Raises:
        TrainingError: There is no case, they differ in their channels, or a number cannot be.
    """

    def __init__(
        self,
        *,
        module: nn.Module,
        cases: Sequence[PreparedCase],
        patch_size: Sequence[int],
        batch_size: int,
        steps_per_epoch: int,
        epochs: int,
        learning_rate: float,
        loss: Loss,
        seed: int,
        how: Optimisation = NNUNET,
        augment: bool = True,
        mirror_axes: Sequence[int] = (0, 1, 2),
    ) -> None:
        if not cases:
            raise TrainingError("There is no case to train on.")
        channels = {case.image.shape[0] for case in cases}
        if len(channels) > 1:
            raise TrainingError(f"The cases differ in their number of channels: {sorted(channels)}.")
        if len(patch_size) != 3 or min(patch_size) < 1:
            raise TrainingError(f"patch_size is three numbers of voxels (z, y, x), not {list(patch_size)}.")
        for name, value in (("batch_size", batch_size), ("steps_per_epoch", steps_per_epoch), ("epochs", epochs)):
            if value < 1:
                raise TrainingError(f"{name} must be at least 1, not {value}.")
        if learning_rate <= 0:
            raise TrainingError(f"learning_rate must be above 0, not {learning_rate}.")
        self.module = module
        self.steps = steps_per_epoch * epochs
        self.epoch = steps_per_epoch
        self.learning_rate = learning_rate
        self.how = how
        self.batches = PatchBatches(
            cases=tuple(cases),
            patch_size=tuple(int(n) for n in patch_size),
            batch_size=batch_size,
            seed=seed,
            augment=augment,
            mirror_axes=tuple(mirror_axes),
        )
        self._loss = loss

    @property
    def fingerprint(self) -> str:
        """Digest of all that the batches depend on: a checkpoint of another one is not resumed."""
        batches = self.batches
        settings = [batches.patch_size, batches.batch_size, batches.seed, batches.augment, batches.mirror_axes]
        return digest_of([settings, [[case.id, case.digest] for case in batches.cases]])

    def groups(self) -> list[Group]:
        """All parameters, at one rate."""
        return [{"params": list(self.module.parameters()), "lr": self.learning_rate, "weight_decay": WEIGHT_DECAY}]

    def schedule(self, step: int) -> float:
        """(1 - epoch / epochs)^0.9, the same for all steps of an epoch."""
        return schedules.poly(step // self.epoch * self.epoch, steps=self.steps)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The injected loss of the module's outputs for `batch`."""
        outputs = self.module(batch["image"])
        levels = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        return self._loss(levels, batch["labels"]), {}

    def validate(self) -> None:
        """Nothing: nnU-Net's recipe has no validation of its own."""
