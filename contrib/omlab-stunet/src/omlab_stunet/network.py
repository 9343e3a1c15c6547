"""STU-Net: a residual 3-D U-Net that is scaled by width and depth together.

Huang et al., "STU-Net: Scalable and Transferable Medical Image Segmentation Models Empowered by
Large-Scale Supervised Pre-training", arXiv 2304.06716. Module names are those of the published
checkpoints, so that their keys are ours. Axes are (D, H, W) = (z, y, x) throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_kernels import instance_norm_act

Triple = tuple[int, int, int]

SLOPE = 0.01
"""Negative slope of every LeakyReLU, which He initialisation takes into account."""

PUBLISHED_POOLINGS: tuple[Triple, ...] = ((2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 2))
"""The five poolings of the TotalSegmentator plan: the last one halves x only."""


@dataclass(frozen=True, kw_only=True)
class StuNetConfig:
    """The hyper-parameters: `depth` blocks and `dims` channels for each stage, `poolings` between stages.

    A pooling holds no weights, so a checkpoint fits whatever the poolings are.
    """

    depth: tuple[int, ...]
    dims: tuple[int, ...]
    in_channels: int = 1
    num_classes: int = 105
    poolings: tuple[Triple, ...] = PUBLISHED_POOLINGS

    def __post_init__(self) -> None:
        if len(self.dims) < 2 or len(self.depth) != len(self.dims):
            raise ValueError(
                f"depth {self.depth} and dims {self.dims} must have one entry for each of 2 or more stages."
            )
        if len(self.poolings) != len(self.dims) - 1:
            raise ValueError(
                f"{len(self.dims)} stages have {len(self.dims) - 1} poolings between them, not {self.poolings}."
            )
        smallest = min(
            self.in_channels, self.num_classes, *self.depth, *self.dims, *(n for p in self.poolings for n in p)
        )
        if smallest < 1:
            raise ValueError(f"Every number of {self} must be at least 1.")

    @property
    def total_stride(self) -> Triple:
        """By what the size of an input must be divisible, for each axis."""
        return (prod(p[0] for p in self.poolings), prod(p[1] for p in self.poolings), prod(p[2] for p in self.poolings))


SIZES: dict[str, StuNetConfig] = {
    "small": StuNetConfig(depth=(1,) * 6, dims=(16, 32, 64, 128, 256, 256)),
    "base": StuNetConfig(depth=(1,) * 6, dims=(32, 64, 128, 256, 512, 512)),
    "large": StuNetConfig(depth=(2,) * 6, dims=(64, 128, 256, 512, 1024, 1024)),
    "huge": StuNetConfig(depth=(3,) * 6, dims=(96, 192, 384, 768, 1536, 1536)),
    "tiny": StuNetConfig(depth=(1,) * 6, dims=(8, 16, 32, 64, 96, 96)),
}
"""The published sizes, and `tiny`: ours, for tests and demonstrations, never published."""


class ResidualBlock(nn.Module):
    """conv1 - norm - LeakyReLU - conv2 - norm, plus the shortcut, LeakyReLU.

    The first block of a stage has a shortcut convolution `conv3` (1x1x1, not normalised), even where
    neither stride nor width changes: the published networks have it there too.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: Triple = (1, 1, 1), first: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1)
        self.norm1 = nn.InstanceNorm3d(out_channels, eps=1e-5, affine=True)
        self.conv2 = nn.Conv3d(out_channels, out_channels, kernel_size=3, padding=1)
        self.norm2 = nn.InstanceNorm3d(out_channels, eps=1e-5, affine=True)
        self.conv3 = nn.Conv3d(in_channels, out_channels, kernel_size=1, stride=stride) if first else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D', H', W'), divided by the stride."""
        y = _norm_act(self.conv1(x), self.norm1)
        y = self.conv2(y)
        return _norm_act(y, self.norm2, residual=x if self.conv3 is None else self.conv3(x))


def _norm_act(x: Tensor, norm: nn.InstanceNorm3d, *, residual: Tensor | None = None) -> Tensor:
    """LeakyReLU of `norm(x) + residual`, in the form that is the fastest on the device of `x`."""
    return (fused if x.is_cuda else in_place)(x, norm, residual=residual)


def fused(x: Tensor, norm: nn.InstanceNorm3d, *, residual: Tensor | None = None) -> Tensor:
    """One operator, in either memory layout: a pass for the moments, and one for all the rest."""
    return instance_norm_act(x, norm.weight, norm.bias, residual=residual, slope=SLOPE, eps=norm.eps)


def in_place(x: Tensor, norm: nn.InstanceNorm3d, *, residual: Tensor | None = None) -> Tensor:
    """PyTorch's own operations: on a CPU nothing takes less time or memory (benchmarks/network.py)."""
    y = norm(x)
    if residual is not None:
        y += residual
    return functional.leaky_relu(y, SLOPE, inplace=True)


class Upsample(nn.Module):
    """1x1x1 convolution, then nearest repeat by `scale`.

    The published order is repeat, then convolve. The two commute, because a 1x1x1 convolution treats
    every voxel alike; in this order it has prod(scale), mostly 8, times less to do.
    """

    def __init__(self, in_channels: int, out_channels: int, *, scale: Triple) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel_size=1)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D * s0, H * s1, W * s2)."""
        x = self.conv(x)
        size = [n * s for n, s in zip(x.shape[2:], self.scale, strict=True)]
        return x if prod(self.scale) == 1 else functional.interpolate(x, size=size, mode="nearest")


class StuNet(nn.Module):
    """The network. Shapes in the comments are those of the base size and a 128^3 window."""

    def __init__(self, config: StuNetConfig) -> None:
        super().__init__()
        self.config = config
        dims, depth, poolings = config.dims, config.depth, config.poolings
        last = len(dims) - 1

        # 32x128^3, 64x64^3, 128x32^3, 256x16^3, 512x8^3, 512x8x8x4; stage d > 0 begins with pooling d - 1
        self.conv_blocks_context = nn.ModuleList(
            _stage(
                dims[d - 1] if d else config.in_channels,
                dims[d],
                blocks=depth[d],
                stride=poolings[d - 1] if d else (1, 1, 1),
            )
            for d in range(len(dims))
        )
        levels = range(last - 1, -1, -1)  # decoder stage u works at the level of encoder stage last - 1 - u
        self.upsample_layers = nn.ModuleList(
            Upsample(dims[level + 1], dims[level], scale=poolings[level]) for level in levels
        )
        # 512x8^3, 256x16^3, 128x32^3, 64x64^3, 32x128^3
        self.conv_blocks_localization = nn.ModuleList(
            _stage(2 * dims[level], dims[level], blocks=depth[level]) for level in levels
        )
        self.seg_outputs = nn.ModuleList(nn.Conv3d(dims[level], config.num_classes, kernel_size=1) for level in levels)

    def forward(self, x: Tensor, *, deep_supervision: bool | None = None) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, D, H, W) of images (B, N, D, H, W); the sizes are multiples of `config.total_stride`.

        With `deep_supervision` (default: in training mode) a tuple: the logits of all decoder stages, full
        resolution first. Without, the heads of the lower resolutions are not computed. All activations, and so the
        logits, have the memory layout of the weights.
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
        for upsample, stage, head in zip(
            self.upsample_layers, self.conv_blocks_localization, self.seg_outputs, strict=True
        ):
            x = stage(torch.cat((upsample(x), skips.pop()), dim=1))  # the upsampled half comes first
            if all_levels or not skips:
                outputs.append(head(x))
        return tuple(reversed(outputs)) if all_levels else outputs[-1]

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of the weights: contiguous, or what `network.to(memory_format=...)` made of it."""
        weight = self.get_parameter("conv_blocks_context.0.0.conv2.weight")
        return torch.contiguous_format if weight.is_contiguous() else torch.channels_last_3d

    def _check(self, x: Tensor) -> None:
        config = self.config
        if x.ndim != 5 or x.shape[1] != config.in_channels:
            raise ValueError(f"The input must be (B, {config.in_channels}, D, H, W), not {tuple(x.shape)}.")
        if any(n % s for n, s in zip(x.shape[2:], config.total_stride, strict=True)):
            raise ValueError(f"Sizes must be multiples of {config.total_stride}, not {tuple(x.shape[2:])}.")


def _stage(in_channels: int, out_channels: int, *, blocks: int, stride: Triple = (1, 1, 1)) -> nn.Sequential:
    first = ResidualBlock(in_channels, out_channels, stride=stride, first=True)
    return nn.Sequential(first, *(ResidualBlock(out_channels, out_channels, first=False) for _ in range(blocks - 1)))


def untrained(config: StuNetConfig, *, seed: int = 0) -> StuNet:
    """A network with the initial values of the published training, the same ones for the same seed.

    Convolutions: He normal for LeakyReLU, zero bias; norms: weight 1, bias 0.
    """
    network = allocate(config)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, a=SLOPE, generator=generator)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # every convolution here has a bias
        elif isinstance(module, nn.InstanceNorm3d):
            module.reset_parameters()
    return network


def allocate(config: StuNetConfig) -> StuNet:
    """A network on the CPU in eval mode whose values are still to be filled in (drawing them twice takes long)."""
    with torch.device("meta"):
        network = StuNet(config)
    return network.to_empty(device="cpu").eval()


def layers_of(network: StuNet) -> list[list[str]]:
    """Parameter names from input to head: each stage of the encoder, each of the decoder with its way up, the heads."""
    names = [name for name, _ in network.named_parameters()]
    stages = len(network.config.dims)
    encoder = [[f"conv_blocks_context.{stage}."] for stage in range(stages)]
    decoder = [[f"upsample_layers.{n}.", f"conv_blocks_localization.{n}."] for n in range(stages - 1)]
    parts = [*encoder, *decoder, ["seg_outputs."]]
    return [[name for name in names if name.startswith(tuple(prefixes))] for prefixes in parts]


def on_device(network: StuNet, device: str | torch.device) -> StuNet:
    """`network` moved there, on a GPU channels-last: the layout in which tensor cores take their convolutions.

    On a CPU both layouts take about as long (benchmarks/network.py).
    """
    layout = torch.channels_last_3d if torch.device(device).type == "cuda" else torch.contiguous_format
    placed: StuNet = network.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack it
    return placed
