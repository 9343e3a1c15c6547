"""The recipe `classification`: CITE's training, on what an adapter lets learn.

Upstream freezes tower and text encoder and trains the prompt and the projection: that is this recipe with the adapter
`finetune` and part=head, which the card advises. All numbers are float32: upstream trains them in float16, without a
master copy, so that small changes are lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omlab.digests import digest_of
from omlab.errors import SettingsError, TrainingError
from omlab.roles import Case, Dataset
from omlab_cite.images import PUBLISHED_SATURATION, SATURATION, Augmentation, colours, plain
from omlab_cite.sampling import TurnsOrder, turns_of
from omlab_image.training.cases import labels_of
from omlab_image.training.classification import ClassificationRecipe
from omlab_train import Group, Optimisation
from omlab_train.layers import layer_groups

if TYPE_CHECKING:
    from omlab_cite.model import CiteModel

WARMUP = 0.005
"""Factor on the rate while it warms up."""
_ROWS = 20
"""Rows of the history."""


def classification(model: CiteModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> CiteRecipe:
    """The recipe for the training split of `data`; `model` stays as it is.

    Raises:
        TrainingError: There is nothing to train on.
        SettingsError: A number cannot be.
    """
    normalisation = model.settings["normalisation"]
    mean, std = colours(normalisation)
    saturation = PUBLISHED_SATURATION if settings["compat"] else SATURATION
    return CiteRecipe(
        module=model.module,
        layers=model.layers(),
        data=data,
        classes=model.task.classes,
        augment=Augmentation(size=model.size, saturation=saturation, mean=mean, std=std),
        prepare=plain(model.size, normalisation=normalisation),
        settings=settings,
        seed=seed,
    )


class CiteRecipe(ClassificationRecipe):
    """Upstream's optimiser, schedule and sampling on the batches of `omlab_image.training.ClassificationRecipe`.

    Settings: `steps`, `batch_size`, `learning_rate` (of a step, as it is), `warmup_steps`, `sampling`.
    """

    def __init__(self, *, settings: Mapping[str, Any], seed: int, **more: Any) -> None:
        super().__init__(settings={"batch_size": settings["batch_size"]}, seed=seed, **more)
        self._learning = self.module  # the loop may wrap `module`, whose parameters have other names then
        self.own = dict(settings)
        self.steps = int(settings["steps"])
        self.epoch = max(1, math.ceil(self.steps / _ROWS))
        if settings["warmup_steps"] > self.steps:
            raise SettingsError(
                f"warmup_steps is {settings['warmup_steps']}, but there are {self.steps} steps: give fewer, such as "
                f"-s warmup_steps={self.steps // 10}, or more steps."
            )
        if settings["sampling"] != "all":
            cases, classes = self.batches.cases, self.batches.names
            by_slide = settings["sampling"] == "slides"
            turns = turns_of(_labels(cases), [case.group for case in cases], classes=classes, by_slide=by_slide)
            self.batches = replace(self.batches, order=TurnsOrder(seed=seed, turns=turns))  # type: ignore[arg-type]

    @property
    def how(self) -> Optimisation:
        """SGD without momentum."""
        return Optimisation(optimizer="sgd")

    @property
    def fingerprint(self) -> str:
        """Digest of all that batches and loss depend on."""
        return digest_of([super().fingerprint, self.own])

    def groups(self) -> list[Group]:
        """All at one rate, without decay."""
        return layer_groups(self._learning, self._layers, lr=self.own["learning_rate"], weight_decay=0.0)

    def schedule(self, step: int) -> float:
        """Half a cosine to 0 over all steps; a two-hundredth of it while it warms up."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return cosine * (WARMUP if step < self.own["warmup_steps"] else 1.0)


def _labels(cases: Sequence[Case]) -> list[str]:
    """The class of each case. Raises `TrainingError` where one has not exactly one."""
    found = []
    for case, label in zip(cases, labels_of(cases), strict=True):
        if len(label) != 1:
            raise TrainingError(f"Case '{case.id}' has {len(label) or 'no'} classes, where one is right.")
        found.append(next(iter(label)))
    return found
