"""Detection of polyps with support frames: an anchor-free head that looks at other frames through its own boxes.

Written from the facts of STFT (Wu et al., Multi-frame Collaboration for Effective Endoscopic Video Polyp Detection via
Spatial-Temporal Feature Transformation, MICCAI 2021) on Endo-FM's backbone; first-stage boxes are FCOS's (Tian et al.
2019). Deformable convolution is torchvision's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import deform_conv2d  # type: ignore[import-untyped]

from omlab_endofm.backbone import Backbone, BackboneConfig, initialise

OF_CLASSES = ("cls_logits", "dcn_cls_score")
"""The head's filters whose outputs are classes."""
_LEVELS = ("2", "3", "4")
_RARE = 0.01  # how probable an untrained network finds each class anywhere (Lin et al. 2017)


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The hyper-parameters; left out, the published ones.

    Attributes:
        backbone: Its patches are of 16 pixels.
        classes: Kinds of what is found.
        channels: Of the pyramid and the towers.
        strides: Of the five levels.
        convolutions: In a tower.
        deformable_groups: Groups of channels with offsets of their own.
        groups: Of the group norms.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    classes: int = 2
    channels: int = 256
    strides: Sequence[int] = (8, 16, 32, 64, 128)
    convolutions: int = 4
    deformable_groups: int = 4
    groups: int = 32


class Body(Backbone):
    """The backbone with maps of the strides 8, 16 and 32. `fpn1` stands in published files and is not used."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        width = config.width
        self.fpn1 = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, stride=2),
        )
        self.fpn2 = nn.Sequential(nn.ConvTranspose2d(width, width, 2, stride=2))

    def pyramid(self, clip: Tensor) -> list[Tensor]:
        """(1, 3, T, H, W) -> maps (T, D, h, w), the finest first."""
        plain = self.maps(clip).flatten(0, 1).contiguous()
        return [self.fpn2(plain), plain, functional.max_pool2d(plain, 2)]


class FeaturePyramid(nn.Module):
    """Lin et al. 2017, with two coarser levels after the coarsest map."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        for level in _LEVELS:
            self.add_module(f"fpn_inner{level}", nn.Conv2d(width, channels, 1))
            self.add_module(f"fpn_layer{level}", nn.Conv2d(channels, channels, 3, padding=1))
        self.top_blocks = nn.ModuleDict(
            {name: nn.Conv2d(channels, channels, 3, stride=2, padding=1) for name in ("p6", "p7")}
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (T, D, h, w) of three strides -> (T, C, h, w) of five."""
        found: list[Tensor] = []
        above: Tensor | None = None
        for level, x in reversed(list(zip(_LEVELS, maps, strict=True))):
            lateral: Tensor = self.get_submodule(f"fpn_inner{level}")(x)
            if above is not None:
                lateral = lateral + functional.interpolate(above, size=lateral.shape[2:], mode="nearest")
            above = lateral
            found.insert(0, self.get_submodule(f"fpn_layer{level}")(lateral))
        p6 = self.top_blocks["p6"](found[-1])
        return [*found, p6, self.top_blocks["p7"](functional.relu(p6))]


class Transformation(nn.Module):
    """A tower's map of the target frame with what other frames show where their boxes are (STFT)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(4, 18 * groups, 1, bias=False)
        self.conv_adaption = DeformableWeight(channels)

    def forward(self, maps: Tensor, sides: Tensor) -> Tensor:
        """Maps (T, C, h, w), the target's first, and `sides_in_map` (T, 4, h, w) -> (1, C, h, w)."""
        guides = torch.cat([sides[:1], sides[:1] - sides[1:]])
        weight = self.conv_adaption.weight
        adapted = functional.relu(deform_conv2d(maps.contiguous(), self.conv_offset(guides), weight, padding=1))
        q, k = (part.flatten(2).transpose(0, 1) for part in (adapted[:1], adapted[1:]))  # (C, n, h w)
        if not k.shape[1]:  # no other frame: it is told nothing
            return adapted[:1]
        attended = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ k
        told: Tensor = adapted[:1] + attended.transpose(0, 1).reshape_as(adapted[:1])
        return told


class DeformableWeight(nn.Module):
    """The filters of the deformable convolution, by their published name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=1)


class Scale(nn.Module):
    """A factor of a level."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


@dataclass(frozen=True, kw_only=True)
class Level:
    """What the head says of one level of the pyramid, of the target frame: tensors (1, ..., h, w).

    Attributes:
        logits: Of each class, first stage.
        distances: From a location to the sides of its box, in pixels.
        centerness: Logit of how central the location is in its box.
        second_logits: Of each class, second stage.
        deltas: How the second stage moves the box: left, top, right, bottom.
        boxes: Of the first stage, (1, h w, 4): left, top, right, bottom in pixels.
    """

    logits: Tensor
    distances: Tensor
    centerness: Tensor
    second_logits: Tensor
    deltas: Tensor
    boxes: Tensor


class Head(nn.Module):
    """Both stages, for all levels with the same filters."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        channels = config.channels
        self.config = config
        self.cls_tower, self.bbox_tower = _tower(config), _tower(config)
        self.cls_logits, self.bbox_pred, self.centerness = (
            nn.Conv2d(channels, outputs, 3, padding=1) for outputs in (config.classes, 4, 1)
        )
        self.dcn_cls_subnet = Transformation(channels, config.deformable_groups)
        self.dcn_bbox_subnet = Transformation(channels, config.deformable_groups)
        self.dcn_cls_score = nn.Conv2d(channels, config.classes, 3, padding=1)
        self.dcn_bbox_pred = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in config.strides)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Level]:
        """Maps (T, C, h, w) of each level, the target's frame first."""
        return [self._level(number, x) for number, x in enumerate(pyramid)]

    def _level(self, number: int, x: Tensor) -> Level:
        stride, scale = self.config.strides[number], self.scales[number].scale
        of_class, of_box = self.cls_tower(x), self.bbox_tower(x)
        distances = functional.relu(scale * self.bbox_pred(of_box)) * stride
        where = locations(*x.shape[2:], stride=stride, like=x)
        sides = sides_in_map(distances, where, stride=stride)
        return Level(
            logits=self.cls_logits(of_class[:1]),
            distances=distances[:1],
            centerness=self.centerness(of_box[:1]),
            second_logits=self.dcn_cls_score(self.dcn_cls_subnet(of_class, sides)),
            deltas=self.dcn_bbox_pred(self.dcn_bbox_subnet(of_box, sides)),
            boxes=boxes_of(distances[0], where).flatten(1).T[None],
        )


def _tower(config: DetectorConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(config.convolutions):
        layers.append(nn.Conv2d(config.channels, config.channels, 3, padding=1))
        layers.extend([nn.GroupNorm(config.groups, config.channels), nn.ReLU()])
    return nn.Sequential(*layers)


def locations(rows: int, columns: int, *, stride: int, like: Tensor) -> Tensor:
    """The middle (x, y) in pixels of each place of a map, (2, h, w)."""
    y, x = (torch.arange(count).to(like) * stride + stride // 2 for count in (rows, columns))
    return torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)])


def boxes_of(distances: Tensor, where: Tensor) -> Tensor:
    """Distances (4, h, w) to the sides and locations (2, h, w) -> left, top, right, bottom (4, h, w)."""
    return torch.cat([where - distances[:2], where + distances[2:]])


def sides_in_map(distances: Tensor, where: Tensor, *, stride: int) -> Tensor:
    """Where the sides of boxes are from their locations, in places of the map, left and top below 0; (T, 4, h, w).

    Boxes, given by their distances (T, 4, h, w) in pixels, and locations are held to the map.
    """
    rows, columns = where.shape[1:]
    ends = torch.tensor([columns, rows]).to(distances)[:, None, None] - 1
    at = torch.minimum(where / stride, ends)
    near = torch.minimum((where - distances[:, :2]) / stride, ends).clamp(min=0)
    far = torch.minimum((where + distances[:, 2:]) / stride, ends).clamp(min=0)
    return torch.cat([near - at, far - at], dim=1)


class Detector(nn.Module):
    """What is found in the first frame of a clip with the help of the others."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = nn.ModuleDict(
            {"body": Body(config.backbone), "fpn": FeaturePyramid(config.backbone.width, config.channels)}
        )
        self.rpn = nn.ModuleDict({"head": Head(config)})

    @property
    def body(self) -> Body:
        """The backbone."""
        found = self.backbone["body"]
        assert isinstance(found, Body)
        return found

    def pyramid(self, clip: Tensor) -> list[Tensor]:
        """(1, 3, T, H, W) -> maps (T, C, h, w) of five strides."""
        found: list[Tensor] = self.backbone["fpn"](self.body.pyramid(clip))
        return found

    def forward(self, clip: Tensor) -> list[Level]:
        """(1, 3, T, H, W), the target frame first -> what the head says of each level."""
        found: list[Level] = self.rpn["head"](self.pyramid(clip))
        return found


def untrained_detector(config: DetectorConfig, *, seed: int = 0) -> Detector:
    """A network in evaluation mode, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Detector(config)
        initialise(network.body, list(network.body.blocks))
        for name in OF_CLASSES:
            nn.init.constant_(network.get_parameter(f"rpn.head.{name}.bias"), math.log(_RARE / (1 - _RARE)))
    return network.eval()
