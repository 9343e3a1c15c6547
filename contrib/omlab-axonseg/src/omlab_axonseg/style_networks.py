"""CycleGAN: slices of a brain in the style of another, and back (Zhu et al., ICCV 2017; as D-LMBmap uses it).

The nine-block residual generator (Johnson et al., ECCV 2016) and the 70 x 70 patch discriminator (Isola et al., CVPR
2017), with instance norms without parameters. Keys of a network are those of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

STRIDE = 4
"""Sides of a slice are multiples of it."""


@dataclass(frozen=True, kw_only=True)
class StyleConfig:
    """The hyper-parameters.

    Attributes:
        width: Channels of the first convolution, of generators and discriminators.
        blocks: Residual blocks of a generator.
        sizes: Rows (dorsoventral) and columns (left-right) that coronal slices are brought to.
        crop: Pixels a side of training crops.
    """

    width: int = 64
    blocks: int = 9
    sizes: tuple[int, int] = (320, 448)
    crop: int = 256

    def __post_init__(self) -> None:
        if any(side % STRIDE for side in (*self.sizes, self.crop)) or self.crop > min(self.sizes):
            raise ValueError(
                f"Slices of {self.sizes} with crops of {self.crop} pixels cannot be: multiples of {STRIDE}."
            )


TINY = StyleConfig(width=4, blocks=1, sizes=(64, 64), crop=32)
"""Ours, for tests and demonstrations; never published."""


class ResidualBlock(nn.Module):
    """x + two 3x3 convolutions of it, borders mirrored."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return x + cast(Tensor, self.conv_block(x))


class Generator(nn.Module):
    """(B, 1, H, W) -> (B, 1, H, W) from -1 to 1; sides are multiples of 4."""

    def __init__(self, *, width: int, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(1, width, 7), *_normed(width)]
        for channels in (width, 2 * width):
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), *_normed(2 * channels)]
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            up = nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, *_normed(channels // 2)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The slice in the other style."""
        return cast(Tensor, self.model(x))


class Discriminator(nn.Module):
    """(B, 1, H, W) -> how real each patch of 70 x 70 pixels looks, (B, 1, H', W')."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for channels, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
            conv = nn.Conv2d(channels, 2 * channels, 4, stride=stride, padding=1)
            layers += [conv, nn.InstanceNorm2d(2 * channels), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """The patches' scores: 1 is real."""
        return cast(Tensor, self.model(x))


@dataclass(frozen=True, eq=False, kw_only=True)
class Losses:
    """The terms of a step, unweighted: what fools, what comes back, what stays, and what tells real from made."""

    fooled: Tensor
    cycle: Tensor
    identity: Tensor
    told: Tensor


class CycleGan(nn.Module):
    """Both generators and both discriminators: A is the brains' style, B the reference's."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.config = config
        self.netG_A = Generator(width=config.width, blocks=config.blocks)
        self.netG_B = Generator(width=config.width, blocks=config.blocks)
        self.netD_A = Discriminator(width=config.width)
        self.netD_B = Discriminator(width=config.width)

    def forward(self, a: Tensor, b: Tensor) -> Losses:
        """The terms of slices of both styles, (B, 1, H, W) from 0 to 1.

        One backward pass serves all: `fooled` gives no gradient to discriminators, `told` none to generators. Least
        squares (Mao et al., ICCV 2017); the others are mean absolute differences.
        """
        as_b, as_a = self.netG_A(a), self.netG_B(b)
        fooled = sum(
            (_judged(judge, made) - 1).square().mean() for judge, made in ((self.netD_A, as_b), (self.netD_B, as_a))
        )
        told = sum(
            0.5 * ((judge(real) - 1).square().mean() + judge(made.detach()).square().mean())
            for judge, real, made in ((self.netD_A, b, as_b), (self.netD_B, a, as_a))
        )
        cycle = (self.netG_B(as_b) - a).abs().mean() + (self.netG_A(as_a) - b).abs().mean()
        identity = (self.netG_A(b) - b).abs().mean() + (self.netG_B(a) - a).abs().mean()
        return Losses(fooled=cast(Tensor, fooled), cycle=cycle, identity=identity, told=cast(Tensor, told))


def untrained(config: StyleConfig, *, seed: int = 0) -> CycleGan:
    """Networks with fresh weights, N(0, 0.02) as published, that depend on the seed alone; in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CycleGan(config)
        for part in network.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(part.weight, 0.0, 0.02)
                nn.init.zeros_(cast(Tensor, part.bias))
    return network.eval()


def _normed(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU()


def _judged(judge: nn.Module, made: Tensor) -> Tensor:
    """What a discriminator says, as if it were fixed."""
    fixed = {name: one.detach() for name, one in judge.named_parameters()}
    return cast(Tensor, torch.func.functional_call(judge, fixed, (made,)))
