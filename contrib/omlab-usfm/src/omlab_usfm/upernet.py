"""UPerNet's head and its auxiliary one, in plain PyTorch with the keys of OpenMMLab's.

Xiao et al., "Unified perceptual parsing for scene understanding", ECCV 2018. Keys and numbers are those of
mmsegmentation 1.x, so that checkpoints fit without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_usfm.atm import resized

AUXILIARY_WEIGHT = 0.4
"""Of the auxiliary head's loss."""


@dataclass(frozen=True, kw_only=True)
class UperConfig:
    """The head's hyper-parameters; those that are left out are USFM's.

    Attributes:
        classes: Background included.
        in_channels: Of each map, finest first.
        channels: Of the head.
        pools: Sides of the pooled grids on the coarsest map.
        dropout: Of whole channels before the last convolution, in training.
    """

    classes: int
    in_channels: tuple[int, ...] = (768,) * 4
    channels: int = 768
    pools: tuple[int, ...] = (1, 2, 3, 6)
    dropout: float = 0.1


@dataclass(frozen=True, kw_only=True)
class FcnConfig:
    """The auxiliary head: convolutions of 3 x 3 on map `index`."""

    classes: int
    in_channels: int = 768
    channels: int = 256
    convolutions: int = 1
    index: int = 2
    dropout: float = 0.1


class ConvNormAct(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, channels: int, *, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel_size=kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) -> (B, out, h, w)."""
        return functional.relu(self.bn(self.conv(x)))


class UperHead(nn.Module):
    """Pooled context on the coarsest map, then a pyramid down to the finest, whose maps are put together."""

    def __init__(self, config: UperConfig) -> None:
        super().__init__()
        self.config = config
        channels, coarsest = config.channels, config.in_channels[-1]
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(pool), ConvNormAct(coarsest, channels, kernel=1))
            for pool in config.pools
        )
        self.bottleneck = ConvNormAct(coarsest + len(config.pools) * channels, channels, kernel=3)
        self.lateral_convs = nn.ModuleList(ConvNormAct(n, channels, kernel=1) for n in config.in_channels[:-1])
        self.fpn_convs = nn.ModuleList(ConvNormAct(channels, channels, kernel=3) for _ in config.in_channels[:-1])
        self.fpn_bottleneck = ConvNormAct(len(config.in_channels) * channels, channels, kernel=3)
        self.dropout = nn.Dropout2d(config.dropout)
        self.conv_seg = nn.Conv2d(channels, config.classes, kernel_size=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, classes, h, w) at the finest of the maps (B, in, h, w), which come finest first."""
        if len(maps) != len(self.config.in_channels):
            raise ValueError(f"The head takes {len(self.config.in_channels)} maps and is given {len(maps)}.")
        levels = [lateral(one) for lateral, one in zip(self.lateral_convs, maps, strict=False)]
        levels.append(self._context(maps[-1]))
        for fine in range(len(levels) - 2, -1, -1):
            levels[fine] = levels[fine] + resized(levels[fine + 1], levels[fine].shape[2:])
        levels = [*(conv(one) for conv, one in zip(self.fpn_convs, levels, strict=False)), levels[-1]]
        together = torch.cat([resized(one, levels[0].shape[2:]) for one in levels], dim=1)
        logits: Tensor = self.conv_seg(self.dropout(self.fpn_bottleneck(together)))
        return logits

    def _context(self, x: Tensor) -> Tensor:
        pooled = [resized(module(x), x.shape[2:]) for module in self.psp_modules]
        context: Tensor = self.bottleneck(torch.cat([x, *pooled], dim=1))
        return context


class FcnHead(nn.Module):
    """A few convolutions on one map: what trains the encoder's middle."""

    def __init__(self, config: FcnConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.in_channels, *(config.channels for _ in range(config.convolutions))]
        pairs = pairwise(widths)
        self.convs = nn.Sequential(*(ConvNormAct(before, after, kernel=3) for before, after in pairs))
        self.dropout = nn.Dropout2d(config.dropout)
        self.conv_seg = nn.Conv2d(widths[-1], config.classes, kernel_size=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, classes, h, w) at map `index`."""
        logits: Tensor = self.conv_seg(self.dropout(self.convs(maps[self.config.index])))
        return logits
