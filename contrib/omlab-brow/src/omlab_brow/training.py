"""The recipes: fine-tuning to classes, and self-distillation with DINO's constants (they stand in the cards)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

from omlab.digests import digest_of
from omlab.errors import SettingsError
from omlab.roles import Dataset
from omlab_brow.distillation import Step
from omlab_brow.views import MultiCrop
from omlab_image.training.cases import figures_of
from omlab_image.training.classification import ClassificationRecipe
from omlab_image.training.self_supervised import SelfSupervisedRecipe, ViewBatches
from omlab_image.transforms import training
from omlab_train import Optimisation
from omlab_train.distillation import cosine_schedule, teacher_temperature

if TYPE_CHECKING:
    from omlab_brow.model import BrowModel

_UNDECAYED = ("cls_token", "pos_embed")
_BETAS = (0.9, 0.999)


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


class NumberedBatches(ViewBatches):
    """Batches that say which they are: temperatures and momentum go by the step."""

    def of(self, drawn: Sequence[tuple[int, int]], number: int) -> dict[str, Any]:
        """As before, with `number`."""
        return {**super().of(drawn, number), "number": torch.tensor(number)}


class SelfDistillationRecipe(SelfSupervisedRecipe):
    """Trains `omlab_brow.distillation.SelfDistillation` as DINO does; fulfils `omlab_train.Recipe`.

    The teacher follows at the beginning of the next step, so that it does once a step however many batches that has;
    what the last step of all would have moved it by is left out (its momentum is 1 then).
    """

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
        super().__init__(
            module=model.module,
            data=data,
            views=views,
            settings={**settings, "betas": _BETAS, "max_grad_norm": settings["clip"]},
            seed=seed,
        )
        self.settings = dict(settings)
        self.batches = _numbered(self.batches)
        self._validation = None if self._validation is None else _numbered(self._validation)

    @property
    def how(self) -> Optimisation:
        """AdamW, each gradient clipped by itself, weight decay rising."""
        settings = self.settings
        rise = settings["final_weight_decay"] / settings["weight_decay"] if settings["weight_decay"] else 1.0
        return replace(
            super().how,
            clips_each=True,
            decay_rise=rise,
            find_unused_parameters=settings["frozen_epochs"] > 0,
        )

    @property
    def fingerprint(self) -> str:
        """Digest of all that batches and loss depend on."""
        return digest_of([super().fingerprint, self.settings])

    def schedule(self, step: int) -> float:
        """A straight line over the warm-up, then half a cosine, in every step."""
        course = self.course
        rate = cosine_schedule(
            step,
            first=course.rate,
            last=course.min_learning_rate,
            steps=self.steps,
            warmup=round(course.warmup_epochs * self.epoch),
        )
        return rate / course.rate

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """What the module says of a batch."""
        generator = torch.Generator(device=batch["seed"].device).manual_seed(int(batch["seed"]))
        loss, parts = self.module(batch["images"], generator, self._step(int(batch["number"])))
        return loss, figures_of(parts)

    def _step(self, number: int) -> Step:
        """How the step of a batch is done; from step 1 on the teacher follows in the first batch of each."""
        settings = self.settings
        processes = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
        step, place = divmod(number, self.course.accumulate * processes)
        epoch = step // self.epoch
        momentum = None
        if step and place < processes:
            momentum = cosine_schedule(step - 1, first=settings["momentum"], last=1.0, steps=self.steps)
        return Step(
            teacher_temperature=teacher_temperature(
                epoch,
                first=settings["first_teacher_temperature"],
                last=settings["teacher_temperature"],
                warmup=settings["teacher_warmup_epochs"],
            ),
            momentum=momentum,
            frozen=epoch < settings["frozen_epochs"],
        )


def _numbered(batches: ViewBatches) -> NumberedBatches:
    return NumberedBatches(**{field.name: getattr(batches, field.name) for field in fields(batches)})


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
