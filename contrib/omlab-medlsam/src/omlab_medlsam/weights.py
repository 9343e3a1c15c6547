"""Published checkpoints of MedLAM: which network a file holds, and how its weights get into ours.

Our keys are the published ones without `module.` (the cards' `prefix`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from omlab.errors import WeightsError
from omlab.weights import check_entries, load_state_dict
from omlab_medlsam.network import MedLam, MedLamConfig

_FIRST, _POSITION, _CLASSES = "conv0_1.model.conv1_1.Conv.weight", "fc1.weight", "classification.0.weight"


def config_from_state(state: Mapping[str, Tensor], *, source: Path | str) -> MedLamConfig:
    """The configuration of the network that `state` belongs to; its patches are taken to be cubes.

    Raises `WeightsError` for another network's state.
    """
    check_entries(state, {_FIRST: 5, _POSITION: 2, _CLASSES: 5}, what="a MedLAM checkpoint", source=source)
    base = state[_FIRST].shape[0] // 2
    side = 16 * round((state[_POSITION].shape[1] / (16 * max(base, 1))) ** (1 / 3))
    try:
        return MedLamConfig(
            base_channels=base,
            patch=(side, side, side),
            in_channels=state[_FIRST].shape[1],
            classes=len(state[_CLASSES]),
        )
    except ValueError as error:
        raise WeightsError(f"{source} is not a MedLAM checkpoint: {error}") from error


def load_network(state: Mapping[str, Tensor], *, source: Path | str, config: MedLamConfig | None = None) -> MedLam:
    """The network of a state, in eval mode. Raises `WeightsError` that names every key that does not fit."""
    with torch.device("meta"):
        network = MedLam(config or config_from_state(state, source=source))
    network = network.to_empty(device="cpu").eval()
    load_state_dict(network, state, source=source)
    return network
