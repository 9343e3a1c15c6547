"""How long a training is and how its rate goes: what all recipes of this package have in common.

The pattern is that of masked autoencoders and their fine-tuning (He et al., CVPR 2022; Zhou et al., RETFound, Nature
2023): AdamW; a learning rate stated for batches of 256; a linear rise, then half a cosine, in every step.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from omlab.errors import SettingsError
from omlab_train import Group, Optimisation
from omlab_train.layers import layer_groups

_STATED_FOR = 256


@dataclass(frozen=True, kw_only=True)
class Course:
    """The settings that every recipe here has; its README has them as a table for model cards.

    Attributes:
        epochs: Times that every case is seen.
        batch_size: Images in a batch.
        accumulate: Batches in a step.
        learning_rate: For 256 images in a step; the rate is in proportion to their number.
        min_learning_rate: What the rate itself falls to.
        warmup_epochs: Epochs of the linear rise from 0; may be a part of one.
        weight_decay: Of all but biases, norms and the like.
        layer_decay: Factor on the rate from a layer to the one before it; 1: all layers learn alike.
        betas: Of AdamW.
        max_grad_norm: The gradient of a step is shortened to this norm; 0 leaves it as it is.
        ema: Decay of a moving average of the weights, which is what training gives; 0: none.

    Raises `SettingsError` for a value that cannot be.
    """

    epochs: int = 50
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 5e-3
    min_learning_rate: float = 1e-6
    warmup_epochs: float = 0.0
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, but must be at least 1.")
        if self.learning_rate <= 0:
            raise SettingsError(f"learning_rate is {self.learning_rate}, but must be above 0.")
        for name in ("min_learning_rate", "weight_decay", "max_grad_norm"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} is {getattr(self, name)}, but must be at least 0.")
        if self.min_learning_rate > self.rate:
            raise SettingsError(
                f"min_learning_rate is {self.min_learning_rate:g}, but the rate itself is {self.rate:g}: learning_rate "
                f"{self.learning_rate:g} x {self.batch_size * self.accumulate} images / {_STATED_FOR}."
            )
        if not 0 <= self.warmup_epochs < self.epochs:
            raise SettingsError(
                f"warmup_epochs is {self.warmup_epochs:g}, but must be at least 0 and below the {self.epochs} epochs: "
                "set it too, as in -s warmup_epochs=0."
            )
        if not 0 < self.layer_decay <= 1:
            raise SettingsError(f"layer_decay is {self.layer_decay}, but must be above 0 and at most 1.")

    @classmethod
    def of(cls, settings: Mapping[str, Any], **defaults: Any) -> Course:
        """The course that the settings of a recipe state; those that it does not have are `defaults`.

        What else is among the settings is passed over.
        """
        known = {field.name for field in fields(cls)}
        return cls(**{**defaults, **{name: value for name, value in settings.items() if name in known}})

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate * self.batch_size * self.accumulate / _STATED_FOR

    @property
    def how(self) -> Optimisation:
        """What the loop is told."""
        return Optimisation(
            betas=self.betas,
            accumulate=self.accumulate,
            max_grad_norm=self.max_grad_norm or None,
            ema=self.ema or None,
        )

    def epoch(self, cases: int) -> int:
        """Steps of an epoch of so many cases; what does not fill a step is seen in the next epoch."""
        return max(1, cases // (self.batch_size * self.accumulate))

    def factor(self, step: int, *, epoch: int) -> float:
        """The factor on the rate in a step, `epoch` steps being one."""
        return half_cosine(
            step / epoch, epochs=self.epochs, warmup=self.warmup_epochs, final=self.min_learning_rate / self.rate
        )


class CourseRecipe:
    """What recipes that follow a course share of `omlab_train.Recipe`: steps, rates by layer, the optimiser.

    Args:
        module: What is trained.
        layers: Names of its parameters from input to head (`Trainable.layers`), for the layer-wise decay.
        course: How long, and at which rates.
        cases: How many there are to train on.
        undecayed: Names of further parameters without weight decay.
    """

    def __init__(
        self,
        *,
        module: nn.Module,
        layers: Sequence[Sequence[str]],
        course: Course,
        cases: int,
        undecayed: Collection[str],
    ) -> None:
        self.module = self._network = module  # the loop may wrap what it is given, and names change then
        self.course = course
        self.epoch = course.epoch(cases)
        self.steps = course.epochs * self.epoch
        self._layers, self._undecayed = [list(names) for names in layers], frozenset(undecayed)

    @property
    def how(self) -> Optimisation:
        """AdamW as the course says."""
        return self.course.how

    def groups(self) -> list[Group]:
        """By layer: the rate falls from the head to the input."""
        return layer_groups(
            self._network,
            self._layers,
            lr=self.course.rate,
            weight_decay=self.course.weight_decay,
            decay=self.course.layer_decay,
            undecayed=self._undecayed,
        )

    def schedule(self, step: int) -> float:
        """The rise and half a cosine, in every step."""
        return self.course.factor(step, epoch=self.epoch)


def half_cosine(epoch: float, *, epochs: float, warmup: float = 0.0, final: float = 0.0) -> float:
    """The factor on a learning rate after `epoch` epochs (0 <= epoch <= epochs, fractions count).

    A straight line from 0 to 1 over `warmup` epochs, then half a cosine to `final` at `epochs`, as of masked
    autoencoders: where there is a warm-up, the first step has the rate 0.
    """
    if epoch < warmup:
        return epoch / warmup
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))
