"""MedLAM's network: published sizes, and the parts that are used by themselves."""

from __future__ import annotations

import pytest
import torch

from omlab.errors import WeightsError
from omlab_medlsam.model import TINY
from omlab_medlsam.network import MedLam, MedLamConfig, untrained
from omlab_medlsam.weights import config_from_state, load_network


def test_the_published_size_is_that_of_its_card() -> None:
    with torch.device("meta"):
        network = MedLam(MedLamConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) == 15_067_878
    assert len(network.state_dict()) == 44


def test_positions_need_the_encoder_alone() -> None:
    network = untrained(TINY)
    patches = torch.rand(2, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    decoded: list[str] = []
    network.conv8_1.register_forward_hook(lambda *_: decoded.append("conv8_1"))
    with torch.inference_mode():
        alone = network.position(patches)
        assert not decoded
        positions, features = network(patches)
    torch.testing.assert_close(alone, positions)
    assert [tuple(level.shape[1:]) for level in features] == [(12, 8, 8, 8), (12, 16, 16, 16), (12, 32, 32, 32)]


def test_a_state_tells_its_network() -> None:
    network = untrained(TINY)
    state = network.state_dict()
    assert config_from_state(state, source="file") == TINY
    again = load_network(state, source="file")
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in state.items())
    with pytest.raises(WeightsError, match=r"it has no 'fc1\.weight'"):
        config_from_state({key: value for key, value in state.items() if key != "fc1.weight"}, source="file")
    with pytest.raises(WeightsError, match=r"conv8_2\.model\.conv1_1\.Conv\.bias"):
        load_network({key: value for key, value in state.items() if not key.startswith("conv8_2")}, source="file")


def test_patches_that_cannot_be_are_refused() -> None:
    for side in (16, 40, 0):
        with pytest.raises(ValueError, match="multiples of 16"):
            MedLamConfig(patch=(side, side, side))
