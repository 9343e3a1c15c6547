"""Folded layers give what the layers give one by one, also after a weight has changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from omlab_endofm.backbone import Backbone, BackboneConfig


def network() -> Backbone:
    torch.manual_seed(0)
    made = Backbone(BackboneConfig(size=32, width=16, depth=2, heads=2)).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def both(module: Backbone, clips: Tensor) -> tuple[Tensor, Tensor]:
    """The features as they are given, and as they are learnt from, layer by layer."""
    with torch.inference_mode():
        given = module(clips)
    return given, module(clips)


@pytest.mark.parametrize("frames", [1, 5])
def test_what_is_not_learnt_from_is_the_same(frames: int) -> None:
    module, clips = network(), torch.randn(2, 3, frames, 32, 48)
    torch.testing.assert_close(*both(module, clips))
    with torch.no_grad():
        module.blocks[0].temporal_fc.weight.mul_(2)
        module.blocks[1].temporal_attn.qkv.bias.add_(1)
    torch.testing.assert_close(*both(module, clips))
    module.load_state_dict({name: tensor + 0.1 for name, tensor in module.state_dict().items()})
    torch.testing.assert_close(*both(module, clips))
    assert all("folded" not in name and "_of" not in name for name in module.state_dict())


def test_layers_that_an_adapter_replaced_are_called() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    module, clips = network(), torch.randn(1, 3, 3, 32, 32)
    module.blocks[0].temporal_fc = Doubled(16, 16)
    torch.testing.assert_close(*both(module, clips))
