"""ESM-2 and ESM-1v as models of omlab: scores of variants, and features of sequences.

session = omlab.load_model("esm2-t33")
table = session.score(sequence=wild, mutants=library)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from omlab.card_schema import ModelCard
from omlab.errors import WeightsError
from omlab.weights import Weights
from omlab_protein.language_model import LanguageModel, config_from
from omlab_protein.network import Esm, EsmConfig, untrained
from omlab_protein.weights import load_network, read_checkpoint, recognise

SIZES = {
    "esm2-tiny": EsmConfig(layers=2, width=40, heads=20, feed_forward=80),
    "esm2-t6": EsmConfig(layers=6, width=320, feed_forward=1280),
    "esm2-t12": EsmConfig(layers=12, width=480, feed_forward=1920),
    "esm2-t30": EsmConfig(layers=30, width=640, feed_forward=2560),
    "esm2-t33": EsmConfig(),
    "esm2-t36": EsmConfig(layers=36, width=2560, heads=40, feed_forward=10240),
    "esm2-t48": EsmConfig(layers=48, width=5120, heads=40, feed_forward=20480),
    "esm1v": EsmConfig(positions="learned"),
}


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Any],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> LanguageModel[Esm]:
    """The entry of the cards. Raises `WeightsError` where the file is of another network, or not whole."""
    wanted = SIZES[card.name]
    if config is not None:
        network = untrained(config_from(config))
        if weights is not None:
            weights.load(network)
    elif weights is not None:
        source, state = read_checkpoint(weights)
        network = network_of(state, source=source, wanted=wanted, name=card.name)
    else:
        network = untrained(wanted)
    return LanguageModel(network, name=card.name, device=device, settings=bounded(settings, network))


def network_of(state: Mapping[str, Tensor], *, source: Path, wanted: EsmConfig, name: str) -> Esm:
    """The network of a file. Raises `WeightsError` where it is of another than `wanted`, or not whole."""
    found = recognise(state, source=source)
    if found.rest:
        raise WeightsError(f"{source} has entries that are none of ESM's, such as '{next(iter(found.rest))}'.")
    if replace(found.config, tied=True) != wanted:  # a head of its own is loaded as it is
        raise WeightsError(
            f"{source} holds a network of {found.config.layers} layers of width {found.config.width} with "
            f"{found.config.positions} positions, not {name} ({wanted.layers}, {wanted.width}, {wanted.positions})."
        )
    return load_network(found, source=source)


def bounded(settings: Mapping[str, Any], network: Esm) -> dict[str, Any]:
    """The settings, `longest` no more than the network has positions for: start and end have some too."""
    longest = settings["longest"]
    if network.config.positions == "learned":
        longest = min(longest, network.config.max_tokens - 2)
    return {**settings, "longest": longest}
