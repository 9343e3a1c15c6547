"""The entry of this package's cards: torchmil's networks behind the verbs and the recipe of omlab-slide.

session = omlab.load_model("torchmil-dsmil.untrained")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from omlab.card_schema import ModelCard
from omlab.session import Session
from omlab.weights import Weights
from omlab_slide.mil.architectures import Architecture, Settings, State
from omlab_slide.mil.model import MilModel, load_as
from omlab_torchmil.network import TorchMil, TorchMilConfig


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> MilModel:
    """The entry of the cards. Raises `WeightsError`."""
    architecture = of_name(card.name.removeprefix("torchmil-"))
    return load_as(architecture, weights=weights, needs=needs, device=device, settings=settings, config=config)


def of_name(name: str) -> Architecture:
    """How networks of a card come about."""

    def of_settings(settings: Settings, embed_dim: int, n_classes: int) -> dict[str, Any]:
        made = TorchMilConfig(model=name, embed_dim=embed_dim, n_classes=n_classes, att_dim=settings["att_dim"])
        return made.to_config()

    def of_state(state: State, settings: Settings) -> tuple[dict[str, Any], dict[str, Tensor]]:
        own = {key if key.startswith("network.") else f"network.{key}": tensor for key, tensor in state.items()}
        return of_settings(settings, settings["features"], 2), own

    return Architecture(
        of_settings=of_settings,
        build=lambda config: TorchMil(TorchMilConfig(**config)),
        of_state=of_state,
        heads=("network.classifier", "network.bag_classifier", "network.inst_classifier"),
        classes=2,
    )
