"""ESM-C and ESM3-open as models of omlab: scores of variants, and features of sequences.

session = omlab.load_model("esmc-300m")
table = session.score(sequence=wild, mutants=library)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omlab.card_schema import ModelCard
from omlab.weights import Weights
from omlab_esmc.network import EsmcConfig, Network, untrained
from omlab_protein.language_model import LanguageModel

SIZES = {
    "esmc-tiny": EsmcConfig(layers=2, width=32, heads=2),
    "esmc-300m": EsmcConfig(layers=30, width=960, heads=15),
    "esmc-600m": EsmcConfig(layers=36, width=1152, heads=18),
    "esm3-tiny": EsmcConfig(layers=2, width=32, heads=2, frame_heads=4),
    "esm3-open": EsmcConfig(layers=48, width=1536, heads=24, frame_heads=256),
}


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> LanguageModel[Network]:
    """The entry of the cards. Raises `MissingDependencyError` without esm, `WeightsError` for another file."""
    network = untrained(SIZES[card.name])
    if weights is not None:
        weights.load(network.esm.published)
    return LanguageModel(network, name=card.name, device=device, settings=settings)
