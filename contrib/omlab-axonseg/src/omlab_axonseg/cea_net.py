"""CEA-Net: the brain regions of a slice, by a ResNet-34 with dilated and pooled context and an attention gate.

Li et al., D-LMBmap, Nature Methods 2023, after CE-Net (Gu et al., IEEE TMI 2019). Module names are those of the
published checkpoints; encoder layers are torchvision's ResNet-34 (He et al., CVPR 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

POOLS = (2, 3, 5, 6)
STRIDE = 32
SMALLEST = STRIDE * max(POOLS)
"""Least pixels along each side: the deepest map must hold the widest pool."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet's basic block)."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != channels:
            shortcut = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, C, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


def _layer(in_channels: int, channels: int, *, blocks: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(in_channels, channels, stride=stride)
    return nn.Sequential(first, *(ResidualBlock(channels, channels, stride=1) for _ in range(blocks - 1)))


class DilatedContext(nn.Module):
    """Sums of chains of dilated convolutions, which share their weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dilate1 = nn.Conv2d(channels, channels, 3, padding=1, dilation=1)
        self.dilate2 = nn.Conv2d(channels, channels, 3, padding=3, dilation=3)
        self.dilate3 = nn.Conv2d(channels, channels, 3, padding=5, dilation=5)
        self.conv1x1 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        first = self.dilate1(x)
        second = self.dilate2(first)
        chains = [first, self.conv1x1(self.dilate2(x)), self.conv1x1(second), self.conv1x1(self.dilate3(second))]
        return x + sum(functional.relu(chain) for chain in chains)


class PooledContext(nn.Module):
    """The map at four scales, one channel each, beside the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 + C, H, W)."""
        size = x.shape[2:]
        pooled = [self.conv(functional.max_pool2d(x, pool, stride=pool)) for pool in POOLS]
        scales = [functional.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in pooled]
        return torch.cat([*scales, x], dim=1)


class AttentionGate(nn.Module):
    """A map weighed by one channel that it makes itself."""

    def __init__(self, channels: int, *, inner: int) -> None:
        super().__init__()
        self.W_g = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.W_x = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.psi = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        weight: Tensor = self.psi(functional.relu(self.W_g(x) + self.W_x(x)))
        return x * weight


class Decoder(nn.Module):
    """To a quarter of the channels, twice the size, and out."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = in_channels // 4
        self.conv1 = nn.Conv2d(in_channels, inner, 1)
        self.norm1 = nn.BatchNorm2d(inner)
        self.deconv2 = nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1)
        self.norm3 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, 2 H, 2 W)."""
        x = functional.relu(self.norm1(self.conv1(x)))
        x = functional.relu(self.norm2(self.deconv2(x)))
        return functional.relu(self.norm3(self.conv3(x)))


class CeaNet(nn.Module):
    """(B, N, H, W) -> logits (B, K, H, W) of regions, each its own sigmoid; sides are multiples of 32, at least 192.

    Args:
        num_classes: K.
        num_channels: N.
        widths: Channels of the encoder's layers; the published ones are ResNet-34's.
        blocks: Residual blocks in each layer.
    """

    def __init__(
        self,
        *,
        num_classes: int = 2,
        num_channels: int = 1,
        widths: tuple[int, int, int, int] = (64, 128, 256, 512),
        blocks: tuple[int, int, int, int] = (3, 4, 6, 3),
    ) -> None:
        super().__init__()
        self.num_classes, self.num_channels, self.widths, self.blocks = num_classes, num_channels, widths, blocks
        a, b, c, d = widths
        self.firstconv = nn.Conv2d(num_channels, a, 7, stride=2, padding=3, bias=False)
        self.firstbn = nn.BatchNorm2d(a)
        self.encoder1 = _layer(a, a, blocks=blocks[0], stride=1)
        self.encoder2 = _layer(a, b, blocks=blocks[1], stride=2)
        self.encoder3 = _layer(b, c, blocks=blocks[2], stride=2)
        self.encoder4 = _layer(c, d, blocks=blocks[3], stride=2)
        self.dblock = DilatedContext(d)
        self.spp = PooledContext(d)
        joint = d + len(POOLS)
        self.att = AttentionGate(joint, inner=c)
        self.decoder4 = Decoder(joint, c)
        self.decoder3 = Decoder(c, b)
        self.decoder2 = Decoder(b, a)
        self.decoder1 = Decoder(a, a)
        self.finaldeconv1 = nn.ConvTranspose2d(a, a // 2, 4, stride=2, padding=1)
        self.finalconv2 = nn.Conv2d(a // 2, a // 2, 3, padding=1)
        self.finalconv3 = nn.Conv2d(a // 2, num_classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits. Raises `ValueError` where channels or sides do not fit."""
        sides = x.shape[2:]
        if x.ndim != 4 or x.shape[1] != self.num_channels or min(sides) < SMALLEST or any(n % STRIDE for n in sides):
            raise ValueError(
                f"The input must be (B, {self.num_channels}, H, W) with sides that are multiples of {STRIDE} and at "
                f"least {SMALLEST}, not {tuple(x.shape)}."
            )
        x = functional.relu(self.firstbn(self.firstconv(x)))  # 1/2
        e1 = self.encoder1(functional.max_pool2d(x, 3, stride=2, padding=1))  # 1/4
        e2 = self.encoder2(e1)  # 1/8
        e3 = self.encoder3(e2)  # 1/16
        x = self.att(self.spp(self.dblock(self.encoder4(e3))))  # 1/32
        x = self.decoder4(x) + e3
        x = self.decoder3(x) + e2
        x = self.decoder2(x) + e1
        x = functional.relu(self.finaldeconv1(self.decoder1(x)))
        out: Tensor = self.finalconv3(functional.relu(self.finalconv2(x)))
        return out
