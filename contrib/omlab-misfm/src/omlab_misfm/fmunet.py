"""FMUNet: a residual 3-D U-Net with normalisation and activation before each convolution.

Wang et al., "Volume Fusion-based Self-Supervised Pretraining for 3D Medical Image Segmentation", IEEE TIP 34 (2025).
Module names are those of the published checkpoint, so that its keys are ours. Shapes in the comments are those of the
published network, isotropic, and a window of 64 x 128 x 128.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_kernels import instance_norm_act
from omlab_misfm.levels import LEVELS, Mode, check_input, check_shape, kernel_of, padding_of, stride_of, total_stride

SLOPE = 0.01
"""Negative slope of every LeakyReLU, which He initialisation takes into account."""
DROPPED_FROM = 2
"""The first level with dropout."""


@dataclass(frozen=True, kw_only=True)
class FmunetConfig:
    """The hyper-parameters, by default the published ones: `depth` residual units at each level."""

    in_channels: int = 1
    num_classes: int = 2
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    depth: int = 2
    resolution_mode: Mode = 0
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_shape(
            in_channels=self.in_channels, num_classes=self.num_classes, widths=self.widths, mode=self.resolution_mode
        )
        if self.depth < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"depth {self.depth} must be at least 1, and dropout {self.dropout} in [0, 1).")

    @property
    def total_stride(self) -> tuple[int, int, int]:
        """By what the size of an input must be divisible, for each axis."""
        return total_stride(self.resolution_mode)


class NormActThen(nn.Sequential):
    """Instance norm and LeakyReLU as one step, then `layers`; numbered as published: 0 and 1, then 2, 3, ..."""

    def __init__(self, width: int, *layers: nn.Module) -> None:
        super().__init__(nn.InstanceNorm3d(width, eps=1e-5, affine=True), nn.LeakyReLU(SLOPE), *layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, D, H, W) to whatever the last layer gives."""
        norm, _, *layers = self
        assert isinstance(norm, nn.InstanceNorm3d)
        if x.is_cuda:  # one operator: a pass for the moments and one for the rest
            x = instance_norm_act(x, norm.weight, norm.bias, slope=SLOPE, eps=norm.eps)
        else:
            x = functional.leaky_relu(norm(x), SLOPE, inplace=True)
        for layer in layers:
            x = layer(x)
        return x


class ResidualUnits(nn.Module):
    """`depth` times: x + convolution of dropout of activation of norm of x."""

    def __init__(self, config: FmunetConfig, level: int) -> None:
        super().__init__()
        width = config.widths[level]
        dropout = config.dropout if level >= DROPPED_FROM else 0.0
        self.conv_list = nn.ModuleList(
            NormActThen(width, nn.Dropout(dropout), _conv(config, level, width, width)) for _ in range(config.depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, D, H, W), the same shape."""
        for unit in self.conv_list:
            x = unit(x) + x
        return x


class Down(nn.Module):
    """A convolution with stride from `level` to the next."""

    def __init__(self, config: FmunetConfig, level: int) -> None:
        super().__init__()
        width, wider = config.widths[level : level + 2]
        stride = stride_of(config.resolution_mode, level)
        self.down = NormActThen(width, _conv(config, level, width, wider, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, D, H, W) -> (B, wider, D / s, H / 2, W / 2)."""
        found: Tensor = self.down(x)
        return found


class UpCat(nn.Module):
    """From the level below up to `level`: narrowed, enlarged linearly, and joined to what was there on the way down."""

    def __init__(self, config: FmunetConfig, level: int) -> None:
        super().__init__()
        width, wider = config.widths[level : level + 2]
        scale = tuple(float(step) for step in stride_of(config.resolution_mode, level))
        self.up = NormActThen(
            wider,
            nn.Conv3d(wider, width, kernel_size=1),
            nn.Upsample(scale_factor=scale, mode="trilinear", align_corners=True),
        )
        self.conv = NormActThen(2 * width, _conv(config, level, 2 * width, width))

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """`skip` (B, width, D, H, W) and `below` (B, wider, D / s, H / 2, W / 2) to the shape of `skip`."""
        x: Tensor = self.conv(torch.cat((skip, self.up(below)), dim=1))
        return x


class Encoder(nn.Module):
    """32 x 64x128x128, 64 x 32x64x64, 128 x 16x32x32, 256 x 8x16x16, 512 x 4x8x8."""

    def __init__(self, config: FmunetConfig) -> None:
        super().__init__()
        for level in range(LEVELS):
            self.add_module(f"en_conv{level}", ResidualUnits(config, level))
        for level in range(LEVELS - 1):
            self.add_module(f"down{level}", Down(config, level))

    def forward(self, x: Tensor) -> list[Tensor]:
        """What each level gives, finest first, of the projected image (B, widths[0], D, H, W)."""
        found = [self.get_submodule("en_conv0")(x)]
        for level in range(1, LEVELS):
            below = self.get_submodule(f"down{level - 1}")(found[-1])
            found.append(self.get_submodule(f"en_conv{level}")(below))
        return found


class Decoder(nn.Module):
    """The way back up, from 512 x 4x8x8 to 32 x 64x128x128; the lowest level has units of its own here too."""

    def __init__(self, config: FmunetConfig) -> None:
        super().__init__()
        for level in range(LEVELS - 1):
            self.add_module(f"upcat{level}", UpCat(config, level))
        for level in range(LEVELS):
            self.add_module(f"de_conv{level}", ResidualUnits(config, level))

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        """What the four upper levels give, finest first."""
        x = self.get_submodule(f"de_conv{LEVELS - 1}")(skips[-1])
        found = []
        for level in range(LEVELS - 2, -1, -1):
            x = self.get_submodule(f"de_conv{level}")(self.get_submodule(f"upcat{level}")(skips[level], x))
            found.append(x)
        return found[::-1]


class Fmunet(nn.Module):
    """The network."""

    def __init__(self, config: FmunetConfig) -> None:
        super().__init__()
        self.config = config
        self.project = _conv(config, 0, config.in_channels, config.widths[0])
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.out_layers = nn.ModuleList(
            NormActThen(config.widths[level], _conv(config, level, config.widths[level], config.num_classes))
            for level in range(LEVELS - 1)
        )

    def forward(self, x: Tensor, *, deep_supervision: bool | None = None) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, D, H, W) of images (B, C, D, H, W); the sizes are multiples of `config.total_stride`.

        With `deep_supervision` (default: in training mode) a tuple: the logits of the four upper levels, full
        resolution first. Without, the heads of the lower ones are not computed.
        """
        config = self.config
        check_input(tuple(x.shape), channels=config.in_channels, mode=config.resolution_mode)
        levels = self.decoder(self.encoder(self.project(x)))
        if self.training if deep_supervision is None else deep_supervision:
            return tuple(head(level) for head, level in zip(self.out_layers, levels, strict=True))
        logits: Tensor = self.out_layers[0](levels[0])
        return logits


def _conv(
    config: FmunetConfig, level: int, channels: int, width: int, *, stride: tuple[int, int, int] = (1, 1, 1)
) -> nn.Conv3d:
    kernel = kernel_of(config.resolution_mode, level)
    return nn.Conv3d(channels, width, kernel_size=kernel, stride=stride, padding=padding_of(kernel))


def untrained_fmunet(config: FmunetConfig, *, seed: int = 0) -> Fmunet:
    """A network with the initial values of the published training, the same ones for the same seed, in eval mode.

    Convolutions: He normal for LeakyReLU, zero bias; norms: weight 1, bias 0.
    """
    with torch.device("meta"):
        network = Fmunet(config)
    network = network.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, a=SLOPE, generator=generator)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # every convolution here has a bias
        elif isinstance(module, nn.InstanceNorm3d):
            module.reset_parameters()
    return network
