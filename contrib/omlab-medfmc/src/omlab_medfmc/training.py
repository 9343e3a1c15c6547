"""The recipe `classification`: the training of MedFMC's baselines, on what an adapter lets learn.

Upstream freezes the backbone and trains prompts and the head: that is this recipe with the adapter `vpt`. Its settings
for the Swin Transformer let the warm-up fill the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from omlab.digests import digest_of
from omlab.errors import SettingsError
from omlab.roles import Dataset
from omlab_image.training.classification import ClassificationRecipe
from omlab_image.transforms import training
from omlab_medfmc.losses import multi_label_loss, single_label_loss
from omlab_train import Group, Optimisation
from omlab_train.layers import layer_groups

if TYPE_CHECKING:
    from omlab_medfmc.model import MedfmcModel

FIRST = 1e-3
"""What a warm-up begins at, of the rate."""


def classification(model: MedfmcModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> MedfmcRecipe:
    """The recipe for the training split of `data`; `model` stays as it is.

    Raises:
        TrainingError: There is nothing to train on.
        SettingsError: A number cannot be.
    """
    prepare = model.transform
    augment = training(prepare.size, auto_augment="", erasing=0.0, mean=prepare.mean, std=prepare.std)
    return MedfmcRecipe(
        module=model.module,
        layers=model.layers(),
        data=data,
        classes=model.task.classes,
        augment=augment,
        prepare=prepare,
        settings=settings,
        seed=seed,
    )


class MedfmcRecipe(ClassificationRecipe):
    """Upstream's optimiser, schedule and loss on the batches of `omlab_image.training.ClassificationRecipe`.

    Settings: `epochs`, `batch_size`, `multi_label`, `optimizer`, `learning_rate` (of a step, as it is), `final_rate`
    (what it falls to, of the rate), `warmup_epochs`, `weight_decay`, `max_grad_norm`.
    """

    def __init__(self, *, settings: Mapping[str, Any], **more: Any) -> None:
        shared = {name: settings[name] for name in ("epochs", "batch_size", "multi_label")}
        super().__init__(settings=shared, **more)
        self._learning = self.module  # the loop may wrap `module`, whose parameters have other names then
        self.own = dict(settings)
        if self.own["warmup_epochs"] > self.own["epochs"]:
            raise SettingsError(
                f"warmup_epochs is {self.own['warmup_epochs']:g}, but there are {self.own['epochs']} epochs."
            )

    @property
    def how(self) -> Optimisation:
        """SGD with momentum 0.9, or AdamW."""
        is_sgd = self.own["optimizer"] == "sgd"
        return Optimisation(
            optimizer=self.own["optimizer"],
            momentum=0.9 if is_sgd else 0.0,
            max_grad_norm=self.own["max_grad_norm"] or None,
        )

    @property
    def fingerprint(self) -> str:
        """Digest of all that batches and loss depend on."""
        return digest_of([super().fingerprint, self.own])

    def groups(self) -> list[Group]:
        """All at one rate; no decay of biases, norms and tables of positions."""
        tables = [name for name, _ in self._learning.named_parameters() if name.endswith("position_bias_table")]
        return layer_groups(
            self._learning,
            self._layers,
            lr=self.own["learning_rate"],
            weight_decay=self.own["weight_decay"],
            undecayed=tables,
        )

    def schedule(self, step: int) -> float:
        """Half a cosine over all steps, times a linear rise, as mmcv has it: both may go on at once."""
        share = step / self.steps
        final = float(self.own["final_rate"])
        cosine = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))
        warmup = float(self.own["warmup_epochs"]) * self.epoch
        return cosine if step >= warmup else cosine * (1 - (1 - step / warmup) * (1 - FIRST))

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """Cross-entropy; of several labels an image summed over classes, so that it grows with their number."""
        logits, target = self.module(batch["image"]).float(), batch["target"]
        if self.batches.is_multi_label:
            return multi_label_loss(logits, target), {}
        return single_label_loss(logits, target), {}
