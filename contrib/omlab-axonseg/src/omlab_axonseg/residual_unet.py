"""The light residual U-Net of D-LMBmap's segmentation tool, and of Isensee's BraTS 2017 before it.

Isensee et al., "Brain Tumor Segmentation and Radiomics Survival Prediction: Contribution to the BRATS 2017 Challenge",
arXiv 1802.10508. Module names are those of the published checkpoints. The state also has `final_conv`, `linear1`,
`linear2` and `bn`, three quarters of the parameters, which nothing uses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.01
STRIDE = 16
"""By what the sizes of an input must be divisible."""


def _conv(in_channels: int, out_channels: int, *, size: int = 3, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, size, stride=stride, padding=size // 2, bias=False)


def _norm(channels: int) -> nn.InstanceNorm3d:
    return nn.InstanceNorm3d(channels)  # without weights


def _norm_act(x: Tensor) -> Tensor:
    return functional.leaky_relu(functional.instance_norm(x), SLOPE)


class ResidualUNet(nn.Module):
    """(B, N, D, H, W) -> logits (B, K, D, H, W); sizes are multiples of 16.

    Args:
        in_channels: Of the image.
        n_classes: K; 1 in the published tool (a sigmoid).
        base_n_filter: Channels at full resolution; 16 times as many at the bottom.
    """

    def __init__(self, *, in_channels: int = 1, n_classes: int = 1, base_n_filter: int = 8) -> None:
        super().__init__()
        self.in_channels, self.n_classes, self.base_n_filter = in_channels, n_classes, base_n_filter
        n = base_n_filter
        self.dropout3d = nn.Dropout3d(0.3)
        self.conv3d_c1_1 = _conv(in_channels, n)
        self.conv3d_c1_2 = _conv(n, n)
        self.lrelu_conv_c1 = nn.Sequential(nn.LeakyReLU(SLOPE), _conv(n, n))
        for level in range(2, 6):
            wide = n * 2 ** (level - 1)
            self.add_module(f"conv3d_c{level}", _conv(wide // 2, wide, stride=2))
            self.add_module(
                f"norm_lrelu_conv_c{level}", nn.Sequential(_norm(wide), nn.LeakyReLU(SLOPE), _conv(wide, wide))
            )
        for level in range(4):  # 0: from the bottom to 1/8; 3: to full resolution
            wide = n * 2 ** (4 - level)
            self.add_module(f"norm_lrelu_upscale_conv_norm_lrelu_l{level}", _upscale(wide, wide // 2))
        self.conv3d_l0 = _conv(8 * n, 8 * n, size=1)
        for level in range(1, 5):
            wide = n * 2 ** (5 - level)
            self.add_module(
                f"conv_norm_lrelu_l{level}", nn.Sequential(_conv(wide, wide), _norm(wide), nn.LeakyReLU(SLOPE))
            )
            self.add_module(f"conv3d_l{level}", _conv(wide, n_classes if level == 4 else wide // 2, size=1))
        self.ds2_1x1_conv3d = _conv(8 * n, n_classes, size=1)
        self.ds3_1x1_conv3d = _conv(4 * n, n_classes, size=1)
        self.final_conv = nn.Conv3d(8 * n, 8 * n, (1, 5, 5))
        self.linear1 = nn.Linear(1024 * n, 1024)
        self.bn = nn.BatchNorm1d(1024)
        self.linear2 = nn.Linear(1024, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits. Raises `ValueError` where the sizes do not fit."""
        if x.ndim != 5 or x.shape[1] != self.in_channels or any(size % STRIDE for size in x.shape[2:]):
            raise ValueError(f"The input must be (B, {self.in_channels}, multiples of {STRIDE}), not {tuple(x.shape)}.")
        skips, x = self._down(x)
        x = self._part("norm_lrelu_upscale_conv_norm_lrelu_l0", x)
        x = _norm_act(self.conv3d_l0(x))
        heads = []
        for level in range(1, 5):
            x = self._part(f"conv_norm_lrelu_l{level}", torch.cat([x, skips.pop()], dim=1))
            if level in (2, 3):
                heads.append(self._part(f"ds{level}_1x1_conv3d", x))
            x = self._part(f"conv3d_l{level}", x)
            if level < 4:
                x = self._part(f"norm_lrelu_upscale_conv_norm_lrelu_l{level}", x)
        return x + _doubled(_doubled(heads[0]) + heads[1])

    def _down(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The skips at 1, 1/2, 1/4 and 1/8, and the sum at the bottom."""
        first = self.conv3d_c1_1(x)
        x = self.dropout3d(self.conv3d_c1_2(functional.leaky_relu(first, SLOPE)))
        x = self.lrelu_conv_c1(x) + first
        skips = [functional.leaky_relu(x, SLOPE)]  # before the norm, at this level alone
        x = _norm_act(x)
        for level in range(2, 6):
            first = self._part(f"conv3d_c{level}", x)
            block = f"norm_lrelu_conv_c{level}"
            x = self._part(block, self.dropout3d(self._part(block, first))) + first  # the same weights twice
            if level < 5:
                x = _norm_act(x)
                skips.append(x)
        return skips, x

    def _part(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = self.get_submodule(name)(x)
        return y


def _upscale(in_channels: int, out_channels: int) -> nn.Sequential:
    act: Any = nn.LeakyReLU(SLOPE)
    up = nn.Upsample(scale_factor=2, mode="nearest")
    return nn.Sequential(_norm(in_channels), act, up, _conv(in_channels, out_channels), _norm(out_channels), act)


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")
