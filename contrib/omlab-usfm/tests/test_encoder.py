"""The encoder: timm's numbers, what configurations cannot be, and the maps of the pyramid."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from timm.models.beit import Beit
from torch import Tensor, nn

from omlab_usfm.atm import AtmConfig
from omlab_usfm.encoder import Encoder, EncoderConfig, PyramidEncoder
from omlab_usfm.segmentation import SegVit, UperNet
from omlab_usfm.upernet import FcnConfig, UperConfig

TINY = EncoderConfig(image_size=32, patch_size=8, width=24, depth=2, heads=3)


def images(count: int = 2, *, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"shared_table": True, "block_tables": False},
        {"shared_table": True},
        {"block_tables": False},
        {"mean_pooling": False, "absolute_positions": True, "qv_bias": False, "layer_scale": None},
    ],
)
def test_logits_are_those_of_timm(other: dict[str, Any]) -> None:
    config = EncoderConfig(image_size=32, patch_size=8, width=24, depth=2, heads=3, **other)
    theirs = Beit(
        img_size=32,
        patch_size=8,
        embed_dim=24,
        depth=2,
        num_heads=3,
        num_classes=4,
        init_values=config.layer_scale,
        qkv_bias=config.qv_bias,
        use_abs_pos_emb=config.absolute_positions,
        use_rel_pos_bias=config.block_tables,
        use_shared_rel_pos_bias=config.shared_table,
        global_pool="avg" if config.mean_pooling else "token",
        norm_layer=partial(nn.LayerNorm, eps=config.eps),  # type: ignore[arg-type]  # timm calls it
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)
    ours = Encoder(config, classes=4).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(images()), theirs(images()), rtol=1e-4, atol=1e-5)


def test_training_reaches_every_parameter() -> None:
    encoder = Encoder(TINY, classes=2)
    encoder.train()
    encoder(images()).square().sum().backward()
    assert [name for name, parameter in encoder.named_parameters() if parameter.grad is None] == []


def test_a_step_changes_what_the_tables_give() -> None:
    encoder = Encoder(TINY).eval()
    with torch.no_grad():
        before = encoder.features(images())
        for name, table in encoder.named_parameters():
            if name.endswith("table"):
                table.add_(torch.linspace(0, 3, len(table))[:, None])
        assert not torch.allclose(encoder.features(images()), before, atol=1e-3)


def test_maps_are_at_strides_of_a_pyramid() -> None:
    encoder = PyramidEncoder(EncoderConfig(image_size=64, width=24, depth=4, heads=3), blocks=(0, 1, 2, 3)).eval()
    with torch.no_grad():
        assert [tuple(one.shape[1:]) for one in encoder(images(1, size=64))] == [
            (24, 16, 16),
            (24, 8, 8),
            (24, 4, 4),
            (24, 2, 2),
        ]
    assert not any(name.startswith(("norm", "fc_norm", "head")) for name in encoder.state_dict())


@pytest.mark.parametrize("network", [Encoder, SegVit, UperNet])
def test_published_sizes(network: type[nn.Module]) -> None:
    """Parameters as counted on upstream's networks."""
    with torch.device("meta"):
        made: nn.Module
        if network is Encoder:
            made, wanted = Encoder(EncoderConfig(), classes=6), 85_766_598
        elif network is SegVit:
            plain = EncoderConfig(image_size=512, qv_bias=False, layer_scale=None)
            made, wanted = SegVit(plain, AtmConfig(classes=2)), 115_461_315
        else:
            made = UperNet(EncoderConfig(image_size=256), UperConfig(classes=3), FcnConfig(classes=3))
            wanted = 162_496_838
    assert sum(parameter.numel() for parameter in made.parameters()) == wanted


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"image_size": 30}, "patches"), ({"width": 25}, "heads"), ({"depth": 0}, "at least 1")],
)
def test_what_cannot_be_is_said(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EncoderConfig(**({"image_size": 32, "patch_size": 8, "width": 24, "heads": 3} | wrong))


@pytest.mark.parametrize("blocks", [(), (1, 0), (0, 5), (-1,), (0, 1, 1)])
def test_maps_are_taken_after_blocks_that_there_are(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="block"):
        PyramidEncoder(TINY, blocks=blocks)
