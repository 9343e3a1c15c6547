"""The recipe `relative-distance`: from volumes without labels (Lei et al. 2023, arXiv 2306.14752, section III-B).

Two crops of each volume: how far apart they lie is told by the positions of the patches as they are; points of each are
found again, by their features at three scales, in its deformed form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import omlab
from omlab import progress
from omlab.digests import digest_of
from omlab.errors import OmlabError, TrainingError
from omlab.roles import Case, Dataset
from omlab_medlsam.crops import PairBatches
from omlab_medlsam.losses import distance_loss, gaps_to, similarity_loss
from omlab_medlsam.network import Features, MedLam
from omlab_medlsam.space import SPACING
from omlab_medlsam.working import Image, working_copy
from omlab_train import Group, Optimisation
from omlab_train.cache import PreparedCache
from omlab_volume.training.targets import volume_name
from omlab_volume.volume import Volume

WEIGHT_DECAY = 1e-4
DROP, EVERY = 0.8, 10
"""The learning rate is multiplied by `DROP` after `EVERY` epochs."""
HOW = Optimisation(find_unused_parameters=True)
"""AdamW; the head `classification` takes no part."""
_FORM = 1
"""Raised whenever the same case comes to give another prepared volume."""


class Pairs(nn.Module):
    """A network that judges itself on pairs of patches.

    Args:
        network: MedLAM.
    """

    def __init__(self, network: MedLam) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, original: Tensor, deformed: Tensor, starts: Tensor, places: Tensor, points: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The losses of distances (mm^2) and of similarities of a batch of `PairBatches`, by its names."""
        positions, features = self.network(original.flatten(0, 1))
        positions = positions.float()  # mm are told by small differences
        others = self.network.decode(self.network.encode(deformed.flatten(0, 1)))
        first, second = positions.chunk(2)
        distance = distance_loss(first, second, starts[0] - starts[1])
        similarity = torch.zeros_like(distance)
        here, there = _halves(features), _halves(others)
        for n in range(2):
            wanted = starts[n][:, None] + SPACING * points[n].to(starts.dtype)
            similarity = similarity + similarity_loss(here[n], there[n], gaps_to(wanted, places[n]), points[n])
        return distance, similarity


@dataclass(kw_only=True)
class RelativeDistance:
    """Trains a network on pairs of patches (`omlab_train.Recipe`).

    Args:
        network: What is trained, in place. `module` is it as it judges itself.
        batches: Pairs of patches.
        epoch: Steps between two checkpoints.
        epochs: How many times.
        learning_rate: The first one.
        fingerprint: Digest of what the batches depend on.
    """

    network: MedLam
    batches: PairBatches
    epoch: int
    epochs: int
    learning_rate: float
    fingerprint: str
    how: Optimisation = HOW
    module: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.module = Pairs(self.network)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.epoch * self.epochs

    def groups(self) -> list[Group]:
        """All parameters alike."""
        return [{"params": list(self.network.parameters()), "lr": self.learning_rate, "weight_decay": WEIGHT_DECAY}]

    def schedule(self, step: int) -> float:
        """Less by a fifth after every ten epochs."""
        return float(DROP ** (step // self.epoch // EVERY))

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, float]]:
        """The sum of both losses; beside it the error of distances in mm, and the loss of similarities."""
        distance, similarity = self.module(**batch)
        return distance + similarity, {
            "distance_mm": float(distance.detach()) ** 0.5,
            "similarity": float(similarity.detach()),
        }

    def validate(self) -> None:
        """Nothing is held back."""


def relative_distance(network: MedLam, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> RelativeDistance:
    """The recipe for the training split of a data set; targets are not looked at.

    Args:
        network: What is trained, in place.
        data: CT volumes. A case is read once, and kept at 3 mm in the cache of prepared cases.
        settings: Those of the recipe, complete.
        seed: What all randomness comes from.

    Raises:
        TrainingError: There is no case.
        InputError: A case cannot be used; names it.
    """
    name = volume_name(data.about("train"))
    cases, digest = data.cases("train"), data.digest("train")
    if not cases:
        raise TrainingError("There is no case to train on: the data set's training split is empty.")
    cache, entries = PreparedCache(), []
    with progress.bar("preparing volumes", total=len(cases)) as advance:
        for case in cases:
            key = digest_of(["medlsam", _FORM, digest, case.id])
            entries.append(cache.get(key, partial(_prepared, case, name=name)))
            advance(1)
    facts: dict[str, Any] = {
        "patch": network.config.patch,
        "volumes": settings["volumes"],
        "points": settings["points"],
        "seed": seed,
    }
    return RelativeDistance(
        network=network,
        batches=PairBatches(entries=tuple(entries), **facts),
        epoch=settings["steps_per_epoch"],
        epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        fingerprint=digest_of({"data": digest, "ids": [case.id for case in cases], **facts}),
    )


def _prepared(case: Case, *, name: str) -> dict[str, Image]:
    try:
        return {"image": working_copy(omlab.take(case.load().inputs, name, Volume)).image}
    except OmlabError as error:
        raise type(error)(f"Case '{case.id}': {error}") from error


def _halves(features: Features) -> tuple[Features, Features]:
    """The features of the first crops, and those of the second."""
    first, second = zip(*(level.chunk(2) for level in features), strict=True)
    return Features(*first), Features(*second)
