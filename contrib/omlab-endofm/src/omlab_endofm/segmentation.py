"""Endo-FM's segmentation: TransUNet (Chen et al. 2021) whose encoder is Endo-FM's blocks over all frames of a clip.

The backbone's own patches, places and times are not used: frames go through a ResNet, whose map is the patches, and
nothing tells their order in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_endofm.backbone import EPS, BackboneConfig, blocks_of, initialise

_STRIDE = 16
_SMOOTH = 1e-5


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """The hyper-parameters; left out, the published ones.

    Attributes:
        blocks: Of the encoder: widths and depth; its size is that of the frames.
        classes: Outputs, the background among them.
        layers: Units in the three stages of the ResNet.
        root: Channels after its first convolution.
        decoder: Channels of the decoder's four blocks.
        bridge: Channels between encoder and decoder.
        skips: How many of the ResNet's maps the decoder takes, 0 to 3.
        groups: Of the group norms.
    """

    blocks: BackboneConfig = field(default_factory=BackboneConfig)
    classes: int = 2
    layers: Sequence[int] = (3, 4, 9)
    root: int = 64
    decoder: Sequence[int] = (256, 128, 64, 16)
    bridge: int = 512
    skips: int = 3
    groups: int = 32

    @property
    def skip_channels(self) -> list[int]:
        """Channels of what each block of the decoder takes of the ResNet."""
        offered = [8 * self.root, 4 * self.root, self.root, 0]
        return [channels if number < self.skips else 0 for number, channels in enumerate(offered)]


class StandardConv(nn.Conv2d):
    """A convolution without bias whose filters are standardised (Qiao et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
        return functional.conv2d(x, (self.weight - mean) / (variance + 1e-5).sqrt(), None, self.stride, self.padding)


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> StandardConv:
    return StandardConv(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class Unit(nn.Module):
    """A bottleneck, normed after each convolution."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, groups: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.gn1 = nn.GroupNorm(groups, middle, eps=EPS)
        self.conv1 = _conv(inputs, middle, 1)
        self.gn2 = nn.GroupNorm(groups, middle, eps=EPS)
        self.conv2 = _conv(middle, middle, 3, stride)
        self.gn3 = nn.GroupNorm(groups, outputs, eps=EPS)
        self.conv3 = _conv(middle, outputs, 1)
        self.changes = stride != 1 or inputs != outputs
        if self.changes:
            self.downsample = _conv(inputs, outputs, 1, stride)
            self.gn_proj = nn.GroupNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        short = self.gn_proj(self.downsample(x)) if self.changes else x
        x = functional.relu(self.gn1(self.conv1(x)))
        x = functional.relu(self.gn2(self.conv2(x)))
        return functional.relu(short + self.gn3(self.conv3(x)))


class Trunk(nn.Module):
    """The ResNet: a map of stride 16, and those before it for the decoder."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        root = config.root
        self.root = nn.ModuleDict({"conv": _conv(3, root, 7, 2), "gn": nn.GroupNorm(config.groups, root, eps=EPS)})
        self.body, inputs = nn.ModuleDict(), root
        for stage, units in enumerate(config.layers, start=1):
            outputs, parts = 4 * root * 2 ** (stage - 1), nn.Sequential()
            for unit in range(1, units + 1):
                stride = 2 if unit == 1 and stage > 1 else 1
                parts.add_module(f"unit{unit}", Unit(inputs, outputs, stride=stride, groups=config.groups))
                inputs = outputs
            self.body[f"block{stage}"] = parts

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) -> (N, C, H/16, W/16), and maps of the strides 8, 4 and 2."""
        H, W = frames.shape[2:]
        x = functional.relu(self.root["gn"](self.root["conv"](frames)))
        maps = [x]
        x = functional.max_pool2d(
            x, 3, stride=2
        )  # without padding: a side is one too short, which the map makes up for
        *before, last = self.body.values()
        for number, stage in enumerate(before):
            x = stage(x)
            stride = 4 * 2**number
            maps.append(functional.pad(x, (0, W // stride - x.shape[3], 0, H // stride - x.shape[2])))
        return last(x), maps[::-1]


class Encoder(nn.Module):
    """Endo-FM's blocks over the patches of all frames, with the bare class token."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.layer = blocks_of(config)
        self.encoder_norm = nn.LayerNorm(config.width, eps=EPS)

    def forward(self, patches: Tensor) -> Tensor:
        """(T, P, D) of one clip -> the same, normed."""
        token, patches = self.cls_token, patches.transpose(0, 1)[None]
        for block in self.layer:
            token, patches = block(token, patches)
        normed: Tensor = self.encoder_norm(patches[0].transpose(0, 1))
        return normed


class Up(nn.Module):
    """Twice as fine, joined with a map of the ResNet, and two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _normed(inputs + skip, outputs)
        self.conv2 = _normed(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """(N, C, H, W) -> (N, C', 2 H, 2 W)."""
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        found: Tensor = self.conv2(self.conv1(x if skip is None else torch.cat([x, skip], dim=1)))
        return found


def _normed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Segmenter(nn.Module):
    """Logits of each pixel of all frames of one clip.

    Raises `ValueError` where frames are not of the size that the table of places is for.
    """

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config, width = config, config.blocks.width
        side = config.blocks.size // _STRIDE
        self.transformer = nn.ModuleDict({"embeddings": nn.Module(), "encoder": Encoder(config.blocks)})
        embeddings = self.transformer["embeddings"]
        embeddings.position_embeddings = nn.Parameter(torch.zeros(1, side * side, width))
        embeddings.hybrid_model = Trunk(config)
        embeddings.patch_embeddings = nn.Conv2d(4 * config.root * 2 ** (len(config.layers) - 1), width, 1)
        self.decoder = nn.ModuleDict({"conv_more": _normed(width, config.bridge)})
        inputs = [config.bridge, *config.decoder[:-1]]
        self.decoder["blocks"] = nn.ModuleList(
            Up(*channels) for channels in zip(inputs, config.skip_channels, config.decoder, strict=True)
        )
        self.segmentation_head = nn.Sequential(nn.Conv2d(config.decoder[-1], config.classes, 3, padding=1))

    def embedded(self, frames: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The ResNet's map, the patches (T, P, D) with their places, and the maps for the decoder."""
        size = self.config.blocks.size
        if frames.shape[2:] != (size, size):
            raise ValueError(f"frames have {frames.shape[2]} x {frames.shape[3]} pixels, but must have {size} x {size}")
        embeddings = self.transformer["embeddings"]
        x, skips = embeddings.hybrid_model(frames)  # type: ignore[operator]
        patches = embeddings.patch_embeddings(x).flatten(2).mT + embeddings.position_embeddings  # type: ignore[operator]
        return x, functional.dropout(patches, 0.1, self.training), skips

    def decoded(self, patches: Tensor, skips: Sequence[Tensor]) -> list[Tensor]:
        """What `conv_more` and each block of the decoder gives."""
        side = self.config.blocks.size // _STRIDE
        x = self.decoder["conv_more"](patches.mT.reshape(len(patches), -1, side, side))
        steps, channels = [x], self.config.skip_channels
        blocks = self.decoder["blocks"]
        assert isinstance(blocks, nn.ModuleList)
        for number, block in enumerate(blocks):
            x = block(x, skips[number] if channels[number] else None)
            steps.append(x)
        return steps

    def forward(self, frames: Tensor) -> Tensor:
        """The frames of one clip (T, 3, S, S) -> logits (T, classes, S, S)."""
        _, patches, skips = self.embedded(frames)
        logits: Tensor = self.segmentation_head(self.decoded(self.transformer["encoder"](patches), skips)[-1])
        return logits


def untrained_segmenter(config: SegmenterConfig, *, seed: int = 0) -> Segmenter:
    """A network in evaluation mode, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Segmenter(config)
        encoder = network.transformer["encoder"]
        assert isinstance(encoder, Encoder)
        initialise(encoder, list(encoder.layer))
    return network.eval()


def segmentation_loss(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and Dice loss of a clip: logits (T, K, H, W), classes (T, H, W) of integers.

    Dice of the softmax over all frames together, the mean of all classes, with squares in the denominator.
    """
    shares = logits.softmax(dim=1).transpose(0, 1).flatten(1)
    truth = functional.one_hot(classes, logits.shape[1]).movedim(-1, 0).flatten(1).to(shares)
    common = (shares * truth).sum(dim=1)
    sizes = shares.square().sum(dim=1) + truth.square().sum(dim=1)
    dice = (2 * common + _SMOOTH) / (sizes + _SMOOTH)
    return functional.cross_entropy(logits, classes), 1 - dice.mean()
