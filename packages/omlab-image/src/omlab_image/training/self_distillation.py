"""The recipe of self-distillation: DINO's course of rates, temperatures, weight decay and momentum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, distributed

from omlab.digests import digest_of
from omlab_image.training.cases import figures_of
from omlab_image.training.self_supervised import SelfSupervisedRecipe, ViewBatches
from omlab_train import Optimisation
from omlab_train.distillation import cosine_schedule, teacher_temperature
from omlab_train.teacher import Step

_BETAS = (0.9, 0.999)


@dataclass(frozen=True, eq=False, kw_only=True)
class NumberedBatches(ViewBatches):
    """Batches that say which they are: temperatures and momentum go by the step."""

    def of(self, drawn: Sequence[tuple[int, int]], number: int) -> dict[str, Any]:
        """As before, with `number`."""
        return {**super().of(drawn, number), "number": torch.tensor(number)}


class SelfDistillationRecipe(SelfSupervisedRecipe):
    """Trains an `omlab_train.teacher.SelfDistiller` as DINO does; fulfils `omlab_train.Recipe`.

    The teacher follows at the beginning of the next step, so that it does once a step however many batches that has;
    what the last step of all would have moved it by is left out (its momentum is 1 then).

    Settings, beside those of `Course`: `clip` (the norm to which each gradient is shortened by itself; 0: none is),
    `final_weight_decay`, `momentum` (of the teacher at first; 1 at the end), `first_teacher_temperature`,
    `teacher_temperature`, `teacher_warmup_epochs`, `frozen_epochs` (in which the last layer stays).
    `module(images, generator, step)` gives (loss, parts).
    """

    batches_as = NumberedBatches

    def __init__(self, *, settings: Mapping[str, Any], **more: Any) -> None:
        super().__init__(settings={**settings, "betas": _BETAS, "max_grad_norm": settings["clip"]}, **more)
        self.settings = dict(settings)

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
