"""What the recipes of frames, segmentation and detection, have in common: a part of one clip in each batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor, nn

from omlab import Sample
from omlab.digests import digest_of
from omlab.errors import TrainingError
from omlab.payloads import an, describe
from omlab.roles import Case, Dataset
from omlab_endofm.training import clip_of
from omlab_image.training.cases import TRAIN, VAL, cases_of, loaded
from omlab_train import Group, Optimisation
from omlab_train.order import Order
from omlab_video.clip import Clip


class Framed(Protocol):
    """What a batch is made of: (clip, target, draws) -> tensors by name, all of one clip."""

    kind: ClassVar[str]

    def __call__(self, clip: Clip, target: Any, draws: np.random.Generator | None, /) -> dict[str, Tensor]:
        """Drawn at random, or without draws as the network sees it when it is used."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class PartBatches:
    """Batches for `omlab_train.Recipe`: a function of seed and number alone.

    Attributes:
        cases: With a clip among their inputs; read when their turn comes.
        order: Which case comes when.
        framed: What is made of a clip and its target.
    """

    cases: tuple[Case, ...]
    order: Order
    framed: Framed

    def __call__(self, number: int) -> dict[str, Tensor]:
        """A part of a clip."""
        index, seed = self.order(number)
        return self.of(index, np.random.default_rng(seed % 2**64))  # seeds may be below 0

    def of(self, index: int, draws: np.random.Generator | None = None) -> dict[str, Tensor]:
        """A part of this case, by these draws."""
        sample = loaded(self.cases[index])
        return self.framed(clip_of(sample), target_of(sample, kind=self.framed.kind), draws)


class FrameRecipe(ABC):
    """One clip in a batch; fulfils `omlab_train.Recipe`.

    Args:
        module: What is trained.
        data: Its cases have a clip among their inputs, and a target of the kind of `framed`.
        framed: What is made of a clip and its target.
        settings: Of the recipe: `epochs`, `accumulate`, `learning_rate`, `weight_decay`.
        seed: What all randomness comes from.

    Raises `TrainingError` where there is nothing to train on.
    """

    def __init__(
        self, *, module: nn.Module, data: Dataset, framed: Framed, settings: Mapping[str, Any], seed: int
    ) -> None:
        self.module = self._network = module  # the loop may wrap what it is given
        self.settings = dict(settings)
        cases, val = cases_of(data, TRAIN), cases_of(data, VAL)
        self.batches = PartBatches(cases=cases, order=Order(count=len(cases), seed=seed), framed=framed)
        self._val = PartBatches(cases=val, order=Order(count=len(val), seed=seed), framed=framed)
        self.epoch = max(1, len(cases) // settings["accumulate"])
        self.steps = settings["epochs"] * self.epoch
        self._data = [data.digest(TRAIN), seed]

    @property
    @abstractmethod
    def how(self) -> Optimisation:
        """The optimizer."""

    @abstractmethod
    def schedule(self, step: int) -> float:
        """The factor on the learning rate."""

    @abstractmethod
    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The loss of a part of a clip, and its parts."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that batches and loss depend on."""
        return digest_of([self._data, self.settings, repr(self.batches.framed)])

    def groups(self) -> list[Group]:
        """All parameters at one rate, decayed alike."""
        how = {"lr": self.settings["learning_rate"], "weight_decay": self.settings["weight_decay"]}
        return [{"params": list(self._network.parameters()), **how}]

    def validate(self) -> Mapping[str, float] | None:
        """The mean loss of the clips of `val`, and of its parts; None where there is none."""
        device = next(self.module.parameters()).device
        sums: dict[str, float] = {}
        for index in range(len(self._val.cases)):
            batch = {name: tensor.to(device) for name, tensor in self._val.of(index).items()}
            loss, parts = self.loss(batch)
            for name, value in {"loss": float(loss), **parts}.items():
                sums[name] = sums.get(name, 0.0) + value / len(self._val.cases)
        return sums or None


def target_of(sample: Sample, *, kind: str) -> Any:
    """The target of a sample. Raises `TrainingError` that names the case where it is of another kind."""
    if sample.target is None or sample.target.kind != kind:
        found = "no target" if sample.target is None else f"{an(describe(sample.target))} as its target"
        raise TrainingError(f"Case '{sample.id}' has {found}; a {kind} is needed.")
    return sample.target


def window(count: int, *, frames: int, draws: np.random.Generator | None) -> range:
    """Frames side by side of so many: drawn, or the middle ones."""
    length = min(count, frames)
    last = count - length
    start = last // 2 if draws is None else int(draws.integers(last + 1))
    return range(start, start + length)
