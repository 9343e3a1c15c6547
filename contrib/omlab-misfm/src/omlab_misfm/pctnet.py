"""PCT-Net: convolutions and shifted-window attention side by side at three levels, between convolutional ends.

Wang et al., "MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a Large-Scale Unannotated
Dataset", arXiv 2306.16925. Module names are those of the published checkpoint, so that its keys are ours; it has the
convolutional ends of all three resolution modes, of which one is used. Shapes in the comments are those of the
published network, mode 1, and a window of 64 x 128 x 128.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omlab_misfm.levels import (
    MODES,
    Mode,
    Triple,
    check_input,
    check_shape,
    kernel_of,
    padding_of,
    stride_of,
    total_stride,
)
from omlab_misfm.swin import TABLE_DEVIATION, SwinBlocks, WindowAttention, window_of

TOKENS_FROM = 2
"""The finest level with attention."""


@dataclass(frozen=True, kw_only=True)
class PctnetConfig:
    """The hyper-parameters, by default the published ones.

    Attributes:
        in_channels: of an image.
        num_classes: outputs.
        input_size: (D, H, W) that the network is made for. Another size will do where the windows come out the same.
        widths: of the five levels.
        dropout: of the five levels.
        resolution_mode: which convolutional ends are used.
        depths: blocks of the three levels with attention.
        heads: of these.
        windows: of these, in tokens along an axis.
        drop_path: stochastic depth of every block.
    """

    in_channels: int = 1
    num_classes: int = 2
    input_size: Triple = (64, 128, 128)
    widths: tuple[int, ...] = (24, 48, 128, 256, 512)
    dropout: tuple[float, ...] = (0.0, 0.0, 0.2, 0.2, 0.2)
    resolution_mode: Mode = 1
    depths: tuple[int, ...] = (2, 2, 2)
    heads: tuple[int, ...] = (4, 8, 16)
    windows: tuple[int, ...] = (6, 6, 6)
    drop_path: float = 0.2

    def __post_init__(self) -> None:
        check_shape(
            in_channels=self.in_channels, num_classes=self.num_classes, widths=self.widths, mode=self.resolution_mode
        )
        if len(self.dropout) != len(self.widths):
            raise ValueError(f"There is one dropout for each of {len(self.widths)} levels, not {self.dropout}.")
        for name, values in (("depths", self.depths), ("heads", self.heads), ("windows", self.windows)):
            if len(values) != len(self.widths) - TOKENS_FROM or min(values) < 1:
                raise ValueError(f"{name} are {len(self.widths) - TOKENS_FROM} numbers of at least 1, not {values}.")
        if not all(0 <= share < 1 for share in (*self.dropout, self.drop_path)):
            raise ValueError(f"dropout {self.dropout} and drop_path {self.drop_path} must be in [0, 1).")
        check_input((1, self.in_channels, *self.input_size), channels=self.in_channels, mode=self.resolution_mode)

    @property
    def total_stride(self) -> Triple:
        """By what the size of an input must be divisible, for each axis."""
        return total_stride(self.resolution_mode)

    def windows_for(self, size: Triple) -> tuple[int, ...]:
        """The windows of the three levels with attention for an input of `size`: of these a table has its rows."""
        return tuple(window_of(grid, window) for grid, window in zip(self._grids(size), self.windows, strict=True))

    def _grids(self, size: Triple) -> list[Triple]:
        grids = []
        z, y, x = size
        for level in range(len(self.widths)):
            if level >= TOKENS_FROM:
                grids.append((z, y, x))
            a, b, c = stride_of(self.resolution_mode, level)
            z, y, x = z // a, y // b, x // c
        return grids


class ConvBlock(nn.Module):
    """Batch norm, PReLU, convolution, and the same again with dropout before the second convolution."""

    def __init__(self, width: int, *, kernel: Triple, dropout: float) -> None:
        super().__init__()
        self.conv_conv = nn.Sequential(
            *_norm_act(width), _conv(width, width, kernel), *_norm_act(width), nn.Dropout(dropout),
            _conv(width, width, kernel),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, D, H, W), the same shape."""
        found: Tensor = self.conv_conv(x)
        return found


class PreActivated(nn.Module):
    """Batch norm, PReLU, convolution; `conv.{0,1,2}` as published."""

    def __init__(self, channels: int, width: int, *, kernel: Triple) -> None:
        super().__init__()
        self.conv = nn.Sequential(*_norm_act(channels), _conv(channels, width, kernel))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, D, H, W) -> (B, width, D, H, W)."""
        found: Tensor = self.conv(x)
        return found


class Down(PreActivated):
    """To the next level: the largest of each 2x2x2 (or 1x2x2), then `PreActivated`."""

    def __init__(self, channels: int, width: int, *, kernel: Triple, stride: Triple) -> None:
        super().__init__(channels, width, kernel=kernel)
        self.pool = nn.MaxPool3d(stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, D, H, W) -> (B, width, D / s, H / 2, W / 2)."""
        return super().forward(self.pool(x))


class Up(nn.Module):
    """From the level below: a transposed convolution, joined to what was there on the way down."""

    def __init__(self, below: int, width: int, *, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.up = nn.Sequential(*_norm_act(below), nn.ConvTranspose3d(below, width, kernel_size=stride, stride=stride))
        self.conv = nn.Sequential(*_norm_act(2 * width), _conv(2 * width, width, kernel))

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """`skip` (B, width, D, H, W) and `below` (B, below, D / s, H / 2, W / 2) to the shape of `skip`."""
        x: Tensor = self.conv(torch.cat((skip, self.up(below)), dim=1))
        return x


class Parallel(nn.Module):
    """A convolutional block and Swin blocks that read the same, added up.

    `norm_layer` is in the published state and nothing ever passes through it.
    """

    def __init__(self, config: PctnetConfig, level: int) -> None:
        super().__init__()
        width, at = config.widths[level], level - TOKENS_FROM
        self.conv = ConvBlock(width, kernel=(3, 3, 3), dropout=config.dropout[level])
        self.trans = SwinBlocks(
            width,
            depth=config.depths[at],
            window=config.windows_for(config.input_size)[at],
            heads=config.heads[at],
            dropout=config.dropout[level],
            drop_path=config.drop_path,
        )
        self.norm_layer = nn.LayerNorm(width).requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, D, H, W), the same shape."""
        found: Tensor = self.conv(x) + self.trans(x)
        return found


class Embedding(nn.Module):
    """The way in, for one resolution mode: 24 x 64x128x128, 48 x 64x64x64, 128 x 32x32x32."""

    def __init__(self, config: PctnetConfig, mode: Mode) -> None:
        super().__init__()
        first, second, third = config.widths[:3]
        kernels = [kernel_of(mode, level) for level in range(3)]
        self.proj = _conv(config.in_channels, first, kernels[0])
        self.conv0 = ConvBlock(first, kernel=kernels[0], dropout=config.dropout[0])
        self.down1 = Down(first, second, kernel=kernels[1], stride=stride_of(mode, 0))
        self.conv1 = ConvBlock(second, kernel=kernels[1], dropout=config.dropout[1])
        self.down2 = Down(second, third, kernel=kernels[2], stride=stride_of(mode, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """An image (B, C, D, H, W) at the three finest levels."""
        finest = self.conv0(self.proj(x))
        second = self.conv1(self.down1(finest))
        return finest, second, self.down2(second)


class Pyramid(nn.Module):
    """The three levels with attention, down and up again: 128 x 32^3, 256 x 16^3, 512 x 8^3."""

    def __init__(self, config: PctnetConfig) -> None:
        super().__init__()
        _, _, fine, middle, coarse = config.widths
        cube: Triple = (3, 3, 3)
        half: Triple = (2, 2, 2)
        self.down3 = Down(fine, middle, kernel=cube, stride=half)
        self.down4 = Down(middle, coarse, kernel=cube, stride=half)
        self.up3 = Up(middle, fine, kernel=cube, stride=half)
        self.up4 = Up(coarse, middle, kernel=cube, stride=half)
        self.convtrans_e2 = Parallel(config, 2)
        self.convtrans_e3 = Parallel(config, 3)
        self.convtrans_e4 = Parallel(config, 4)
        self.convtrans_d3 = Parallel(config, 3)
        self.convtrans_d2 = Parallel(config, 2)
        self.out_conv2 = PreActivated(fine, config.num_classes, kernel=(1, 1, 1))
        self.out_conv3 = PreActivated(middle, config.num_classes, kernel=(1, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What comes back up at the finest of these levels, and at the middle one."""
        fine = self.convtrans_e2(x)
        middle = self.convtrans_e3(self.down3(fine))
        coarse = self.convtrans_e4(self.down4(middle))
        middle = self.convtrans_d3(self.up4(middle, coarse))
        return self.convtrans_d2(self.up3(fine, middle)), middle


class Head(nn.Module):
    """The way out, for one resolution mode."""

    def __init__(self, config: PctnetConfig, mode: Mode) -> None:
        super().__init__()
        first, second, third = config.widths[:3]
        kernels = [kernel_of(mode, level) for level in range(2)]
        self.up1 = Up(second, first, kernel=kernels[0], stride=stride_of(mode, 0))
        self.up2 = Up(third, second, kernel=kernels[1], stride=stride_of(mode, 1))
        self.conv0 = ConvBlock(first, kernel=kernels[0], dropout=config.dropout[0])
        self.conv1 = ConvBlock(second, kernel=kernels[1], dropout=config.dropout[1])
        self.out_conv0 = PreActivated(first, config.num_classes, kernel=(1, 1, 1))
        self.out_conv1 = PreActivated(second, config.num_classes, kernel=(1, 1, 1))

    def forward(self, finest: Tensor, second: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        """What is decoded at the two finest levels."""
        second = self.conv1(self.up2(second, below))
        return self.conv0(self.up1(finest, second)), second


class Pctnet(nn.Module):
    """The network."""

    def __init__(self, config: PctnetConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = nn.ModuleList(Embedding(config, mode) for mode in MODES)
        self.pyramid_ct = Pyramid(config)
        self.pred_heads = nn.ModuleList(Head(config, mode) for mode in MODES)
        for mode in MODES:  # published and kept, so that another mode may start from them; never trained unused
            used = mode == config.resolution_mode
            self.embeddings[mode].requires_grad_(used)
            self.pred_heads[mode].requires_grad_(used)

    def forward(self, x: Tensor, *, deep_supervision: bool | None = None) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, D, H, W) of images (B, C, D, H, W).

        With `deep_supervision` (default: in training mode) a tuple: the logits of the four finest levels, full
        resolution first. Without, the heads of the lower ones are not computed.

        Raises:
            ValueError: The size is not a multiple of `config.total_stride`, or one for which the windows would be
                others than those that the tables were made for.
        """
        self._check(x)
        mode = self.config.resolution_mode
        finest, second, third = self.embeddings[mode](x)
        fine, middle = self.pyramid_ct(third)
        head = self.pred_heads[mode]
        finest, second = head(finest, second, fine)
        logits: Tensor = head.get_submodule("out_conv0")(finest)
        if not (self.training if deep_supervision is None else deep_supervision):
            return logits
        return (
            logits,
            head.get_submodule("out_conv1")(second),
            self.pyramid_ct.out_conv2(fine),
            self.pyramid_ct.out_conv3(middle),
        )

    def _check(self, x: Tensor) -> None:
        config = self.config
        check_input(tuple(x.shape), channels=config.in_channels, mode=config.resolution_mode)
        depth, height, width = x.shape[2:]
        made, wanted = config.windows_for(config.input_size), config.windows_for((depth, height, width))
        if made != wanted:
            raise ValueError(
                f"An input of {(depth, height, width)} has windows of {wanted} tokens, but this network is made for "
                f"{config.input_size} and windows of {made}."
            )


def _norm_act(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm3d(width), nn.PReLU()


def _conv(channels: int, width: int, kernel: Triple) -> nn.Conv3d:
    return nn.Conv3d(channels, width, kernel_size=kernel, padding=padding_of(kernel))


def untrained_pctnet(config: PctnetConfig, *, seed: int = 0) -> Pctnet:
    """A network with the initial values of the published training, the same ones for the same seed, in eval mode.

    PyTorch's own, and for the tables a truncated normal of deviation 0.02.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Pctnet(config)
        for module in network.modules():
            if isinstance(module, WindowAttention):
                nn.init.trunc_normal_(module.relative_position_bias_table, std=TABLE_DEVIATION)
    return network.eval()
