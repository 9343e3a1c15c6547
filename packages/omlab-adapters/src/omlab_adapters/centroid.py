"""Adapter `nearest-centroid`: the class whose mean training embedding is most alike.

Source: Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017, eq. (1) and (2), by cosine similarity.
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
from omlab_adapters.features import Matrix, softmax, training_features, unit
from omlab_adapters.heads import HeadModel, verbs


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> Centroid:
    """The entry of the card."""
    return Centroid(temperature=settings["temperature"])


class Centroid:
    """Class means on any model that embeds (`omlab.roles.Adapter`).

    Args:
        temperature: Of the softmax over similarities.
    """

    def __init__(self, *, temperature: float) -> None:
        self.temperature = temperature

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
        """Embed the training split, keep the means. Raises `TrainingError` where there are not two classes."""
        known = training_features(base.session(), data, folder=folder)
        present = [index for index in range(len(known.classes)) if (known.labels == index).any()]
        vectors = unit(known.vectors)
        means = unit(np.stack([vectors[known.labels == index].mean(axis=0) for index in present]))
        return Adapted(
            config={"classes": [known.classes[index] for index in present]},
            tensors=save({"means": torch.from_numpy(means)}, folder),
            does=verbs(base),
        )

    def restore(self, base: Base, *, config: Mapping[str, Any], tensors: Path) -> Model:
        """The base with its class means."""
        means = read_state_dict(tensors)["means"].numpy()

        def head(asked: Matrix) -> Any:
            return softmax(unit(asked) @ means.T / self.temperature)

        return HeadModel(base.session(), head=head, classes=config["classes"])
