"""PRIME's files: the language model (2023 and hub form), and the regressions of 2023."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from omlab.errors import WeightsError
from omlab.weights import load_state_dict
from omlab_prime.network import Temperature
from omlab_protein.network import Esm
from omlab_protein.weights import load_network, recognise

_HEAD = "regression."


def load_language_model(state: Mapping[str, Tensor], *, source: Path | str) -> tuple[Esm, list[str]]:
    """The network, and the names of entries that are neither encoder nor language head.

    Raises `WeightsError` where encoder or head are not whole, or the file holds a regression.
    """
    found = recognise(state, source=source)
    if not found.config.outputs:
        raise WeightsError(
            f"{source} has no head for residues (lm_head): it cannot score variants. A regression is loaded as "
            "prime-temperature."
        )
    return load_network(found, source=source), list(found.rest)


def load_temperature(state: Mapping[str, Tensor], *, source: Path | str) -> Temperature:
    """The regression of a file of 2023. Raises `WeightsError` that names every key that is missing or not known."""
    found = recognise(state, source=source)
    head = {key: value for key, value in found.rest.items() if key.startswith(_HEAD)}
    if not head:
        raise WeightsError(
            f"{source} has no regression ('{_HEAD}...'): a language model is loaded as prime, and fine-tuned to "
            "numbers by the recipe regression."
        )
    network = Temperature(found.config)
    load_state_dict(
        network,
        {key: value for key, value in found.state.items() if key.startswith("esm.")}
        | dict(found.rest)
        | {"center": torch.zeros(()), "spread": torch.ones(())},
        source=source,
    )
    return network.eval()
