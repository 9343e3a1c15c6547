"""Both networks in all modes: sizes, levels of deep supervision, initial values, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from omlab_misfm.networks import CONFIGS, config_from_json, config_to_json, layers_of, untrained
from omlab_misfm.pctnet import PctnetConfig

TINY = ["misfm-pctnet-tiny", "misfm-fmunet-tiny"]


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(("mode", "sizes"), [
    (0, [(16, 32, 48), (8, 16, 24), (4, 8, 12), (2, 4, 6)]),
    (1, [(16, 32, 48), (16, 16, 24), (8, 8, 12), (4, 4, 6)]),
    (2, [(16, 32, 48), (16, 16, 24), (16, 8, 12), (8, 4, 6)]),
])  # fmt: skip
def test_levels_have_the_sizes_of_the_mode(name: str, mode: Any, sizes: list[tuple[int, ...]]) -> None:
    config = replace(CONFIGS[name], resolution_mode=mode)
    if isinstance(config, PctnetConfig):
        config = replace(config, input_size=(16, 32, 48))
    network = untrained(config)
    image = torch.randn(2, 1, 16, 32, 48)
    with torch.no_grad():
        levels = network(image, deep_supervision=True)
        assert [tuple(level.shape) for level in levels] == [(2, 5, *size) for size in sizes]
        torch.testing.assert_close(network(image), levels[0])
    network.train()
    loss = sum(level.square().mean() for level in network(image))
    assert isinstance(loss, torch.Tensor)
    loss.backward()  # type: ignore[no-untyped-call]
    missing = [name for name, one in network.named_parameters() if one.requires_grad and one.grad is None]
    assert not missing


@pytest.mark.parametrize("name", TINY)
def test_a_seed_gives_the_same_network(name: str) -> None:
    first, again, other = (untrained(CONFIGS[name], seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_come_back_from_json(name: str) -> None:
    assert config_from_json(config_to_json(CONFIGS[name])) == CONFIGS[name]


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_has_one_layer_and_heads_are_last(name: str) -> None:
    network = untrained(CONFIGS[name])
    layers = layers_of(network)
    names = [key for layer in layers for key in layer]
    assert sorted(names) == sorted(key for key, _ in network.named_parameters())
    assert all("out_" in key for key in layers[-1])
    assert min(map(len, layers)) > 0


def test_pctnet_takes_other_sizes_with_the_same_windows_only() -> None:
    network = untrained(CONFIGS["misfm-pctnet-tiny"])
    with torch.no_grad():
        assert network(torch.randn(1, 1, 16, 32, 64)).shape == (1, 5, 16, 32, 64)
        with pytest.raises(ValueError, match=r"windows of \(4, 2, 1\) tokens.*made for \(16, 32, 32\).*\(6, 4, 2\)"):
            network(torch.randn(1, 1, 8, 32, 32))


@pytest.mark.parametrize("name", TINY)
def test_wrong_inputs_are_refused(name: str) -> None:
    network = untrained(CONFIGS[name])
    with pytest.raises(ValueError, match=r"must be \(B, 1, D, H, W\)"):
        network(torch.randn(1, 2, 16, 32, 32))
    with pytest.raises(ValueError, match="multiples of"):
        network(torch.randn(1, 1, 16, 30, 32))


@pytest.mark.parametrize(("change", "sentence"), [
    ({"widths": (1, 2)}, "5 levels"), ({"resolution_mode": 3}, "mode is 0, 1 or 2"), ({"num_classes": 0}, "at least 1"),
])  # fmt: skip
@pytest.mark.parametrize("name", TINY)
def test_impossible_networks_are_refused(name: str, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(CONFIGS[name], **change)


def test_impossible_pctnets_are_refused() -> None:
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "heads": ({"heads": (2, 2)}, "heads are 3 numbers"),
        "dropout": ({"dropout": (0.1,)}, "one dropout"),
        "size": ({"input_size": (15, 32, 32)}, "multiples"),
        "path": ({"drop_path": 1.0}, "drop_path 1.0"),
    }
    for change, sentence in changes.values():
        with pytest.raises(ValueError, match=sentence):
            replace(CONFIGS["misfm-pctnet-tiny"], **change)
