"""The recipe `registration`: pairs of brains, by intensities, regions and smoothness (Li et al., D-LMBmap, 2023)."""

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
from omlab_axonseg.registration.losses import (
    folding,
    local_correlation,
    matrix_change,
    mutual_information,
    smoothness,
    volume_change,
)
from omlab_train import Group, Optimisation
from omlab_train.order import Order

if TYPE_CHECKING:
    from omlab_axonseg.register import RegistrationModel

SAMPLES = 200_000
"""Voxels of the mutual information."""
REGION = 40.0
CORRELATION = 5.0
SMOOTH = 10.0
FOLD = 1.0
HALF_AFTER = 800
WARMUP = 100

Pair = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False, kw_only=True)
class PairBatches:
    """Batches of one pair: `fixed` and `moving` maps, each pair once before one comes again."""

    pairs: tuple[Pair, ...]
    seed: int

    def __call__(self, number: int) -> dict[str, Any]:
        """The maps of a pair, and where the mutual information looks."""
        index, seed = Order(count=len(self.pairs), seed=self.seed)(number)
        return self.of(index, seed)

    def of(self, index: int, seed: int) -> dict[str, Any]:
        """The batch of a pair; the seed says where is looked."""
        pair = self.pairs[index]
        voxels = next(iter(pair["fixed"].values())).numel()
        places = np.random.default_rng(seed % 2**64).integers(voxels, size=min(SAMPLES, voxels))
        return {**{side: dict(maps) for side, maps in pair.items()}, "places": torch.from_numpy(places)}


class RegistrationRecipe:
    """Trains the cascade; fulfils `omlab_train.Recipe`.

    The loss of each step: mutual information and 5 x local correlation of the images, 40 x the mean squared difference
    of each region that is there, and for matrices their change and change of volume, for fields 10 x the smoothness (in
    voxels) and the folding. Upstream's identity and "inverse" terms, which use a displacement as a place, are left out.
    At a scale above 1 the newest branch alone is trained, as published: all else was trained at the scales before, and
    its part of the loss, by far the largest, stays what it is for each pair. After each epoch the pairs of the split
    `val`, where there is one, give the loss of always the same places.
    """

    how = Optimisation(optimizer="adam", precision="float32")

    def __init__(
        self,
        model: RegistrationModel,
        batches: PairBatches,
        *,
        settings: Mapping[str, Any],
        print_: str,
        validation: PairBatches | None = None,
    ) -> None:
        self.module: nn.Module = model.module
        self.image, self.regions = model.module.config.constraints[0], model.regions
        self.batches, self.fingerprint, self._validation = batches, print_, validation
        self.steps: int = settings["steps"]
        self.epoch: int = min(settings["steps_per_epoch"], self.steps)
        self.newest = model.module.config.scale - 1
        self.rates: dict[bool, float] = {True: settings["nonrigid_rate"], False: settings["matrix_rate"]}

    def groups(self) -> list[Group]:
        """The matrices' networks and the non-rigid one, each at its rate."""
        parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, parameter in self.module.named_parameters():
            if not self.newest or f"sample_module_list_list.{self.newest}." in name:
                parts["net.backbone." in name].append(parameter)
        return [
            {"params": parts[is_field], "lr": rate, "weight_decay": 0.0}
            for is_field, rate in self.rates.items()
            if parts[is_field]
        ]

    def schedule(self, step: int) -> float:
        """Risen over 100 steps (a tenth of a shorter training), halved every 800."""
        warmup = min(WARMUP, max(self.steps // 10, 1))
        return float(min(1.0, (step + 1) / warmup) * 0.5 ** (step // HALF_AFTER))

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """The loss of a pair, and its correlation at the end."""
        steps = self.module(batch["fixed"], batch["moving"])
        fixed, terms = batch["fixed"], []
        for step in steps:
            image = step.warped[self.image]
            places = batch["places"]
            correlation = local_correlation(fixed[self.image], image)
            terms.append(mutual_information(fixed[self.image].flatten()[places], image.flatten()[places]))
            terms.append(CORRELATION * correlation)
            for name in self.regions:
                terms.append(REGION * (fixed[name] - step.warped[name]).square().mean())
            if step.matrix is not None:
                terms += [matrix_change(step.matrix), volume_change(step.matrix)]
            if step.displacement is not None:
                sizes = step.displacement.new_tensor(step.displacement.shape[1:4][::-1])
                voxels = step.displacement * (sizes - 1) / 2
                terms += [SMOOTH * smoothness(voxels) / 100, FOLD * folding(voxels)]
        return torch.stack(terms).sum(), {"correlation": -float(correlation.detach())}

    def validate(self) -> Mapping[str, float] | None:
        """The mean loss and correlation of the split `val`; None where there is none."""
        batches = self._validation
        if batches is None:
            return None
        device = next(self.module.parameters()).device
        found = []
        for index in range(len(batches.pairs)):
            batch = batches.of(index, index)
            sides = {
                side: {name: map_.to(device) for name, map_ in batch[side].items()} for side in ("fixed", "moving")
            }
            loss, parts = self.loss({**sides, "places": batch["places"].to(device)})
            found.append({"loss": float(loss), **parts})
        return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def registration(
    model: RegistrationModel, data: Dataset, *, settings: Mapping[str, Any], seed: int
) -> RegistrationRecipe:
    """The recipe for the splits `train` and `val` of `data`: cases with the inputs `fixed` and `moving`.

    Raises:
        TrainingError: There is no case, or one has no such inputs.
        InputError: A volume cannot be used.
    """
    pairs, held_out = _pairs(model, data, "train"), _pairs(model, data, "val")
    if not pairs:
        raise TrainingError("There is no case to train on: the data set's training split is empty.")
    batches = PairBatches(pairs=pairs, seed=seed)
    validation = PairBatches(pairs=held_out, seed=seed) if held_out else None
    print_ = digest_of([data.digest("train"), list(model.sizes), dict(settings), seed])
    return RegistrationRecipe(model, batches, settings=settings, print_=print_, validation=validation)


def _pairs(model: RegistrationModel, data: Dataset, split: str) -> tuple[Pair, ...]:
    """The maps of the cases of a split, which may be none. Raises `TrainingError` for other inputs."""
    pairs = []
    for case in data.cases(split) if split in data.splits() else ():
        inputs = case.load().inputs
        if not {"fixed", "moving"} <= inputs.keys():
            has = ", ".join(inputs) or "none"
            raise TrainingError(f"Case '{case.id}' has the inputs {has}: what is needed is 'fixed' and 'moving'.")
        pairs.append({side: model.maps(inputs, side) for side in ("fixed", "moving")})
    return tuple(pairs)
