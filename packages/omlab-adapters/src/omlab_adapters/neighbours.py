"""Adapter `knn`: the nearest training embeddings vote, weighted by exp(similarity / temperature).

Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, eq. (9).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omlab.card_schema import AdapterCard
from omlab.roles import Adapted, Base, Dataset, Model
from omlab.weights import read_state_dict
from omlab_adapters.changes import save
from omlab_adapters.features import Matrix, training_features, unit
from omlab_adapters.heads import HeadModel, verbs


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> Neighbours:
    """The entry of the card."""
    return Neighbours(count=settings["neighbours"], temperature=settings["temperature"])


class Neighbours:
    """k-nearest neighbours on any model that embeds (`omlab.roles.Adapter`).

    Args:
        count: How many vote; all of them where there are fewer.
        temperature: Smaller gives the nearest more weight.
    """

    def __init__(self, *, count: int, temperature: float) -> None:
        self.count, self.temperature = count, temperature

    def fit(
        self,
        base: Base,
        data: Dataset,
        *,
        recipe: str | None,
        settings: Mapping[str, Any],
        seed: int,
        folder: Path,
    ) -> Adapted:
        """Embed the training split and keep it. Raises `TrainingError` where cases have no class, or all the same."""
        known = training_features(base.session(), data, folder=folder)
        tensors = {"vectors": torch.from_numpy(unit(known.vectors)), "labels": torch.from_numpy(known.labels)}
        return Adapted(config={"classes": list(known.classes)}, tensors=save(tensors, folder), does=verbs(base))

    def restore(self, base: Base, *, config: Mapping[str, Any], tensors: Path) -> Model:
        """The base with its neighbours."""
        stored = read_state_dict(tensors)
        vectors, labels = stored["vectors"].numpy(), stored["labels"].numpy()
        classes, count = config["classes"], min(self.count, len(stored["labels"]))

        def head(asked: Matrix) -> Any:
            similarity = unit(asked) @ vectors.T
            nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
            found = np.take_along_axis(similarity, nearest, axis=1).astype(np.float64)
            weights = np.exp((found - found.max(axis=1, keepdims=True)) / self.temperature)
            votes = np.zeros((len(asked), len(classes)))
            for row, (places, weight) in enumerate(zip(nearest, weights, strict=True)):
                np.add.at(votes[row], labels[places], weight)
            return votes / votes.sum(axis=1, keepdims=True)

        return HeadModel(base.session(), head=head, classes=classes)
