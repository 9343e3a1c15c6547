"""Adapter `linear-probe`: logistic regression on standardised embeddings, by scikit-learn."""

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
from omlab_adapters.features import Matrix, softmax, training_features
from omlab_adapters.heads import HeadModel, verbs

ITERATIONS = 2000


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> LinearProbe:
    """The entry of the card."""
    return LinearProbe(strength=settings["strength"])


class LinearProbe:
    """A linear head on any model that embeds (`omlab.roles.Adapter`).

    Args:
        strength: C of the regression: the inverse of how strongly the weights are held to 0.
    """

    def __init__(self, *, strength: float) -> None:
        self.strength = strength

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
        """Embed the training split, fit the head. Raises `TrainingError` where cases have no class, or all the same."""
        from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

        known = training_features(base.session(), data, folder=folder)
        mean, deviation = known.vectors.mean(axis=0), known.vectors.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1)
        model = LogisticRegression(C=self.strength, max_iter=ITERATIONS)
        model.fit((known.vectors - mean) / scale, known.labels)
        weight, bias = _one_row_a_class(model)
        learned = {"weight": weight, "bias": bias, "mean": mean, "scale": scale}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(part, np.float32)) for name, part in learned.items()}
        return Adapted(
            config={"classes": [known.classes[index] for index in model.classes_]},
            tensors=save(tensors, folder),
            does=verbs(base),
            history=[{"epoch": 1, "train_accuracy": float(model.score((known.vectors - mean) / scale, known.labels))}],
        )

    def restore(self, base: Base, *, config: Mapping[str, Any], tensors: Path) -> Model:
        """The base with its head."""
        learned = {name: tensor.numpy() for name, tensor in read_state_dict(tensors).items()}

        def head(vectors: Matrix) -> Any:
            return softmax((vectors - learned["mean"]) / learned["scale"] @ learned["weight"].T + learned["bias"])

        return HeadModel(base.session(), head=head, classes=config["classes"])


def _one_row_a_class(model: Any) -> tuple[Matrix, Matrix]:
    """Weights (K, D) and biases (K); of two classes scikit-learn keeps the difference only."""
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2 and len(weight) == 1:
        return np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    return weight, bias
