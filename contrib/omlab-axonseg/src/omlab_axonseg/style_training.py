"""The recipe `style`: CycleGAN on brains (`volume`) and references (`reference`), which need not belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab.digests import digest_of
from omlab.errors import TrainingError
from omlab.roles import Dataset
from omlab_axonseg.style_networks import StyleConfig
from omlab_axonseg.style_slices import CORONAL, checked_brain, prepared
from omlab_train import Group, Optimisation
from omlab_volume.volume import Volume

if TYPE_CHECKING:
    from omlab_axonseg.style import StyleModel

CYCLE = 10.0
IDENTITY = 5.0
"""Half of the cycle's weight, as published."""
SIDES = ("volume", "reference")


@dataclass(frozen=True, eq=False, kw_only=True)
class CropBatches:
    """A crop of each style, drawn by seed and number.

    Attributes:
        slices: For `volume` and `reference` the coronal slices, (N, rows, columns) at the network's size, from 0 to 1.
        crop: Pixels a side.
        seed: What all randomness comes from.
    """

    slices: Mapping[str, Tensor]
    crop: int
    seed: int

    def __call__(self, number: int) -> dict[str, Tensor]:
        """(1, 1, crop, crop) of each, mirrored from left to right half of the time."""
        rng = np.random.default_rng([self.seed, number])
        return {name: self._crop(self.slices[name], rng) for name in SIDES}

    def _crop(self, slices: Tensor, rng: np.random.Generator) -> Tensor:
        one = slices[int(rng.integers(len(slices)))]
        top, left = (int(rng.integers(size - self.crop + 1)) for size in one.shape)
        cut = one[top : top + self.crop, left : left + self.crop]
        return (cut.flip(1) if rng.random() < 0.5 else cut).clone()[None, None]


class StyleRecipe:
    """Trains both generators and both discriminators; fulfils `omlab_train.Recipe`.

    10 x cycle, 5 x identity and least squares against the discriminators, all networks in one step (upstream takes
    turns). Upstream's outline term trains another network alone, and is left out.
    """

    how = Optimisation(optimizer="adam", betas=(0.5, 0.999), precision="float32")

    def __init__(
        self, module: nn.Module, batches: CropBatches, *, settings: Mapping[str, Any], fingerprint: str
    ) -> None:
        self.module, self.batches, self.fingerprint = module, batches, fingerprint
        self.epoch: int = settings["steps_per_epoch"]
        self.steps: int = settings["epochs"] * settings["steps_per_epoch"]
        self.rate: float = settings["style_rate"]

    def groups(self) -> list[Group]:
        """All parameters, at one rate."""
        return [{"params": list(self.module.parameters()), "lr": self.rate, "weight_decay": 0.0}]

    def schedule(self, step: int) -> float:
        """Held for the first half, then falling to nothing in a line."""
        return min(1.0, 2 * (1 - step / self.steps))

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The sum of the terms, and each of them."""
        terms = self.module(batch["volume"], batch["reference"])
        total = terms.fooled + CYCLE * terms.cycle + IDENTITY * terms.identity + terms.told
        return total, {name: float(one.detach()) for name, one in vars(terms).items()}

    def validate(self) -> None:
        """Nothing."""


def style(model: StyleModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> StyleRecipe:
    """The recipe for the training split of `data`: cases with the input `volume`, `reference`, or both.

    Raises:
        TrainingError: There is no brain, or no reference.
        InputError: A volume cannot be used.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in SIDES}
    for case in data.cases("train"):
        inputs = case.load().inputs
        for name in SIDES:
            volume = inputs.get(name)
            if isinstance(volume, Volume):
                found[name].append(_slices(volume, model.module.config))
    lacking = [name for name, slices in found.items() if not slices]
    if lacking:
        raise TrainingError(
            f"No case of the data has the input '{lacking[0]}': style transfer learns from brains ('volume') and from "
            "brains of the style to come to ('reference')."
        )
    slices = {name: torch.cat(ones) for name, ones in found.items()}
    batches = CropBatches(slices=slices, crop=model.module.config.crop, seed=seed)
    fingerprint = digest_of([data.digest("train"), model.config(), dict(settings), seed])
    return StyleRecipe(model.module, batches, settings=settings, fingerprint=fingerprint)


def _slices(volume: Volume, config: StyleConfig) -> Tensor:
    """The coronal slices that show something."""
    array = np.array(np.moveaxis(checked_brain(volume), CORONAL, 0), np.float32, order="C")
    slices = prepared(torch.from_numpy(array)[:, None], config)[:, 0]
    shown = slices.amax(dim=(1, 2)) > 0
    return slices[shown] if bool(shown.any()) else slices
