"""The axon networks of D-LMBmap: nnU-Net's generic U-Net, with or without axial attention in its decoder.

Li et al., "D-LMBmap: a fully automated deep-learning pipeline for whole-brain profiling of neural circuitry", Nature
Methods 2023; the U-Net is that of nnU-Net version 1 (Isensee et al., Nature Methods 2021). Module names are those of
the published checkpoints, so that their keys are ours. Axes are (z, x, y) of the cubes, (D, H, W) here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_axonseg.axial_attention import AxialAttention, AxialPosition, Sizes
from omlab_kernels import instance_norm_act

SLOPE = 0.01
"""Negative slope of every LeakyReLU, which He initialisation takes into account."""
HALVINGS: tuple[Sizes, ...] = ((2, 2, 2),) * 5


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """The hyper-parameters.

    Attributes:
        in_channels: of the image.
        num_classes: with the background.
        base_features: channels at full resolution; doubled by each pooling, up to `max_features`.
        max_features: the most channels.
        poolings: strides between stages; a transposed convolution of that size and stride leads back.
        convs: convolutions in a stage, at least 2.
        attention: whether the decoder has axial attention (the axon network) or none (nnU-Net's).
        heads: of attention: `heads` x 2^d heads of `head_size` x 2^d channels, d poolings below full resolution.
        head_size: see `heads`.
        volume: sizes of the image that position terms are for; with attention the only ones that work.
        no_attention: decoder stages (0 is the deepest) without attention.
    """

    in_channels: int = 1
    num_classes: int = 2
    base_features: int = 32
    max_features: int = 320
    poolings: tuple[Sizes, ...] = HALVINGS
    convs: int = 2
    attention: bool = True
    heads: int = 2
    head_size: int = 8
    volume: Sizes = (128, 128, 128)
    no_attention: tuple[int, ...] = (4,)

    def __post_init__(self) -> None:
        if self.convs < 2 or not self.poolings or min(self.in_channels, self.num_classes, self.base_features) < 1:
            raise ValueError(
                f"A U-Net has poolings, 2 or more convolutions a stage and at least 1 channel, not {self}."
            )
        if any(size % stride for size, stride in zip(self.volume, self.total_stride, strict=True)):
            raise ValueError(f"The volume {self.volume} is not a multiple of the strides {self.total_stride}.")

    @property
    def total_stride(self) -> Sizes:
        """By what the sizes of an input must be divisible."""
        return (prod(p[0] for p in self.poolings), prod(p[1] for p in self.poolings), prod(p[2] for p in self.poolings))

    @property
    def widths(self) -> list[int]:
        """Channels of the stages of the encoder, the bottleneck last."""
        return [min(self.base_features * 2**stage, self.max_features) for stage in range(len(self.poolings) + 1)]

    def sizes_at(self, level: int) -> Sizes:
        """Sizes of the maps after `level` poolings."""
        depth, height, width = (
            size // prod(pooling[axis] for pooling in self.poolings[:level]) for axis, size in enumerate(self.volume)
        )
        return depth, height, width


class ConvUnit(nn.Module):
    """Convolution, instance norm, LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: Sizes = (1, 1, 1)) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1)
        self.instnorm = nn.InstanceNorm3d(out_channels, eps=1e-5, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D', H', W'), divided by the stride."""
        y = self.conv(x)
        norm = self.instnorm
        if y.is_cuda:
            return instance_norm_act(y, norm.weight, norm.bias, slope=SLOPE, eps=norm.eps)
        return functional.leaky_relu(norm(y), SLOPE, inplace=True)


class Stage(nn.Module):
    """Convolution units; the first one strides."""

    def __init__(self, in_channels: int, out_channels: int, *, convs: int, stride: Sizes = (1, 1, 1)) -> None:
        super().__init__()
        first = ConvUnit(in_channels, out_channels, stride=stride)
        self.blocks = nn.Sequential(first, *(ConvUnit(out_channels, out_channels) for _ in range(convs - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D', H', W')."""
        y: Tensor = self.blocks(x)
        return y


class AxialUNet(nn.Module):
    """The network. Shapes in the comments are those of the published one and a 128^3 cube."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, poolings, convs = config.widths, config.poolings, config.convs
        last = len(poolings)
        # 32x128^3, 64x64^3, 128x32^3, 256x16^3, 320x8^3, and the bottleneck 320x4^3
        self.conv_blocks_context = nn.ModuleList(
            Stage(widths[d - 1] if d else config.in_channels, widths[d], convs=convs, stride=_stride(poolings, d))
            for d in range(last)
        )
        bottom = Stage(widths[-2], widths[-1], convs=convs - 1, stride=poolings[-1])
        self.conv_blocks_context.append(nn.Sequential(bottom, Stage(widths[-1], widths[-1], convs=1)))
        levels = range(last - 1, -1, -1)  # decoder stage u works at the level of encoder stage last - 1 - u
        self.tu = nn.ModuleList(
            nn.ConvTranspose3d(widths[level + 1], widths[level], poolings[level], stride=poolings[level], bias=False)
            for level in levels
        )
        attended = {} if not config.attention else {u: d for u, d in enumerate(levels) if u not in config.no_attention}
        self.axial_embedding = nn.ModuleDict(
            {str(u): AxialPosition(widths[d], sizes=config.sizes_at(d)) for u, d in attended.items()}
        )
        self.axial_attention = nn.ModuleDict(
            {
                str(u): AxialAttention(widths[d], heads=config.heads * 2**d, head_size=config.head_size * 2**d)
                for u, d in attended.items()
            }
        )
        self.conv_blocks_localization = nn.ModuleList(
            nn.Sequential(
                Stage(2 * widths[level], widths[level], convs=convs - 1), Stage(widths[level], widths[level], convs=1)
            )
            for level in levels
        )
        self.seg_outputs = nn.ModuleList(
            nn.Conv3d(widths[level], config.num_classes, kernel_size=1, bias=False) for level in levels
        )

    def forward(self, x: Tensor, *, deep_supervision: bool | None = None) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, D, H, W) of images (B, N, D, H, W).

        With `deep_supervision` (default: in training mode) a tuple: the logits of all decoder stages, full resolution
        first. Without, the heads of the lower resolutions are not computed.

        Raises:
            ValueError: Channels or sizes do not fit; with attention the sizes are `config.volume`.
        """
        self._check(x)
        x = x.to(memory_format=self.memory_format)
        all_levels = self.training if deep_supervision is None else deep_supervision
        skips = []
        for stage in self.conv_blocks_context:
            x = stage(x)
            skips.append(x)
        skips.pop()
        outputs = []
        for u, (up, stage, head) in enumerate(
            zip(self.tu, self.conv_blocks_localization, self.seg_outputs, strict=True)
        ):
            x = up(x)
            if str(u) in self.axial_attention:  # the residual is the map without its position terms
                x = self.axial_attention[str(u)](self.axial_embedding[str(u)](x)) + x
            x = stage(torch.cat((x, skips.pop()), dim=1))  # the upsampled half comes first
            if all_levels or not skips:
                outputs.append(head(x))
        return tuple(reversed(outputs)) if all_levels else outputs[-1]

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of the weights: contiguous, or what `network.to(memory_format=...)` made of it."""
        weight = self.get_parameter("conv_blocks_context.1.blocks.0.conv.weight")
        return torch.contiguous_format if weight.is_contiguous() else torch.channels_last_3d

    def _check(self, x: Tensor) -> None:
        config = self.config
        if x.ndim != 5 or x.shape[1] != config.in_channels:
            raise ValueError(f"The input must be (B, {config.in_channels}, D, H, W), not {tuple(x.shape)}.")
        if config.attention and tuple(x.shape[2:]) != config.volume:
            raise ValueError(f"The position terms are for {config.volume} voxels, not {tuple(x.shape[2:])}.")
        if any(n % s for n, s in zip(x.shape[2:], config.total_stride, strict=True)):
            raise ValueError(f"Sizes must be multiples of {config.total_stride}, not {tuple(x.shape[2:])}.")


def _stride(poolings: tuple[Sizes, ...], stage: int) -> Sizes:
    return poolings[stage - 1] if stage else (1, 1, 1)


def untrained(config: UNetConfig, *, seed: int = 0) -> AxialUNet:
    """A network with initial values, in eval mode, the same ones for the same seed.

    Convolutions: He normal for LeakyReLU, zero bias; norms: weight 1, bias 0; linear maps: normal with the variance of
    their inputs kept; position terms: normal, as published.
    """
    with torch.device("meta"):
        network = AxialUNet(config)
    network = network.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if name.endswith("instnorm.weight"):
            nn.init.ones_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif "axial_embedding" in name:
            nn.init.normal_(parameter, generator=generator)
        elif parameter.ndim == 2:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
        else:
            nn.init.kaiming_normal_(parameter, a=SLOPE, generator=generator)
    return network


def layers_of(network: AxialUNet) -> list[list[str]]:
    """Parameter names from input to head: each stage of the encoder, each of the decoder with its way up, the heads."""
    names = [name for name, _ in network.named_parameters()]
    count = len(network.config.poolings)
    encoder = [[f"conv_blocks_context.{n}."] for n in range(count + 1)]
    parts = ("tu", "axial_embedding", "axial_attention", "conv_blocks_localization")
    decoder = [[f"{part}.{n}." for part in parts] for n in range(count)]
    return [
        [name for name in names if name.startswith(tuple(prefixes))]
        for prefixes in (*encoder, *decoder, ["seg_outputs."])
    ]
