"""Layer-wise decay: who is in which group."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from omlab.errors import TrainingError
from omlab_train.layers import layer_groups


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.zeros(1, 3, 4))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(2))
        self.head = nn.Linear(4, 2)


LAYERS = [
    ["tokens"],
    *([f"blocks.{n}.{part}.{kind}" for part in (0, 1) for kind in ("weight", "bias")] for n in (0, 1)),
    ["head.weight", "head.bias"],
]


def described(module: nn.Module, groups: list[dict[str, Any]]) -> list[tuple[set[str], float, float]]:
    names = {parameter: name for name, parameter in module.named_parameters()}
    return [({names[p] for p in group["params"]}, group["lr"], group["weight_decay"]) for group in groups]


def test_rates_fall_towards_the_input() -> None:
    module = Network()
    groups = layer_groups(module, LAYERS, lr=1.0, weight_decay=0.05, decay=0.5, undecayed=["tokens"])
    assert described(module, groups) == [
        ({"tokens"}, 0.125, 0.0),
        ({"blocks.0.0.bias", "blocks.0.1.weight", "blocks.0.1.bias"}, 0.25, 0.0),
        ({"blocks.0.0.weight"}, 0.25, 0.05),
        ({"blocks.1.0.bias", "blocks.1.1.weight", "blocks.1.1.bias"}, 0.5, 0.0),
        ({"blocks.1.0.weight"}, 0.5, 0.05),
        ({"head.bias"}, 1.0, 0.0),
        ({"head.weight"}, 1.0, 0.05),
    ]
    assert {group["lr"] for group in layer_groups(module, LAYERS, lr=1.0, weight_decay=0.0)} == {1.0}


def test_what_an_adapter_injected_learns_with_its_layer() -> None:
    module = Network()
    module.blocks[0][0] = nn.ModuleDict({"base_layer": nn.Linear(4, 4), "lora_A": nn.Linear(4, 1, bias=False)})  # type: ignore[index]
    module.prompt = nn.Parameter(torch.zeros(2, 4))
    rates = {
        name: rate
        for names, rate, _ in described(module, layer_groups(module, LAYERS, lr=1.0, weight_decay=0.0, decay=0.5))
        for name in names
    }
    assert len(rates) == len(list(module.parameters()))
    assert rates["blocks.0.0.lora_A.weight"] == rates["blocks.0.0.base_layer.weight"] == 0.25
    assert rates["blocks.1.0.weight"] == 0.5
    assert rates["prompt"] == rates["head.weight"] == 1.0


def test_layers_of_another_network_are_refused() -> None:
    with pytest.raises(TrainingError, match="is one of Network"):
        layer_groups(Network(), [["stem.weight"]], lr=1.0, weight_decay=0.0)
    with pytest.raises(TrainingError, match=r"decay is 1\.5"):
        layer_groups(Network(), LAYERS, lr=1.0, weight_decay=0.0, decay=1.5)
