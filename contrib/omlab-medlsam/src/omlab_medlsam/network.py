"""MedLAM: where in a body a patch of CT lies, and features that find the same place in another patch.

Lei et al., "MedLSAM: Localize and segment anything model for 3D CT images", arXiv 2306.14752. A 3-D U-Net whose
bottleneck gives the position of a patch, and whose decoder gives features at a quarter, a half and the whole of its
size. Module names are those of the published checkpoint. Axes are (D, H, W) = (z, y, x).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_kernels import instance_norm_act

Triple = tuple[int, int, int]

STRIDE = 16
"""Of the bottleneck."""
DROPOUT = 0.2


@dataclass(frozen=True, kw_only=True)
class MedLamConfig:
    """The hyper-parameters: the published network has 24 base channels and patches of 64^3 voxels.

    Raises `ValueError` for a patch that is not a multiple of 16, or is too small for its bottleneck to be normalised.
    """

    base_channels: int = 24
    patch: Triple = (64, 64, 64)
    in_channels: int = 1
    classes: int = 3

    def __post_init__(self) -> None:
        if min(self.base_channels, self.in_channels, self.classes) < 1:
            raise ValueError(f"Every number of {self} must be at least 1.")
        if any(n % STRIDE or n < STRIDE for n in self.patch) or prod(self.patch) == STRIDE**3:
            raise ValueError(f"A patch has multiples of {STRIDE} voxels, and more than {STRIDE}^3, not {self.patch}.")

    @property
    def bottleneck(self) -> int:
        """Numbers that the position is read off."""
        return prod(n // STRIDE for n in self.patch) * 16 * self.base_channels


class Features(NamedTuple):
    """Decoder features of patches, (B, 4 * base, ...) each, at a quarter, a half and the whole of the patch's size."""

    quarter: Tensor
    half: Tensor
    whole: Tensor


class Encoded(NamedTuple):
    """What the encoder gives: the second convolution of each stage at full size to 1/8, and the bottleneck at 1/16."""

    skips: tuple[Tensor, Tensor, Tensor, Tensor]
    bottleneck: Tensor


class Unit(nn.Module):
    """Convolution 3x3x3, instance norm without weights, ReLU.

    The norm takes the convolution's bias away again, whatever it is: the published file has it nevertheless.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        convolution = nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1)
        self.model = nn.ModuleDict({"conv1_1": nn.ModuleDict({"Conv": convolution})})

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D, H, W)."""
        y: Tensor = self.get_submodule("model.conv1_1.Conv")(x)
        if y.is_cuda:
            return instance_norm_act(y, activation="relu")
        return functional.relu_(functional.instance_norm(y))


class MedLam(nn.Module):
    """The network.

    Args:
        config: Its hyper-parameters.
    """

    def __init__(self, config: MedLamConfig) -> None:
        super().__init__()
        self.config = config
        b = config.base_channels
        self.conv0_1, self.conv0_2 = Unit(config.in_channels, 2 * b), Unit(2 * b, 2 * b)
        self.conv1_1, self.conv1_2 = Unit(2 * b, 2 * b), Unit(2 * b, 2 * b)
        self.conv2_1, self.conv2_2 = Unit(2 * b, 2 * b), Unit(2 * b, 4 * b)
        self.conv3_1, self.conv3_2 = Unit(4 * b, 4 * b), Unit(4 * b, 8 * b)
        self.conv4_1, self.conv4_2 = Unit(8 * b, 8 * b), Unit(8 * b, 16 * b)
        self.conv5_1, self.conv5_2 = Unit(24 * b, 8 * b), Unit(8 * b, 8 * b)
        self.conv6_1, self.conv6_2 = Unit(12 * b, 4 * b), Unit(4 * b, 4 * b)
        self.conv7_1, self.conv7_2 = Unit(6 * b, 4 * b), Unit(4 * b, 4 * b)
        self.conv8_1, self.conv8_2 = Unit(6 * b, 4 * b), Unit(4 * b, 4 * b)
        self.classification = nn.Sequential(nn.Conv3d(4 * b, config.classes, kernel_size=1), nn.Sigmoid())
        self.fc1 = nn.Linear(config.bottleneck, 8 * b)
        self.fc2 = nn.Linear(8 * b, 4 * b)
        self.fc3 = nn.Linear(4 * b, 3)

    def encode(self, x: Tensor) -> Encoded:
        """Patches (B, in, D, H, W) down to the bottleneck (B, 16 * base, D/16, H/16, W/16)."""
        full = self.conv0_2(self.conv0_1(x))
        half = self.conv1_2(self.conv1_1(functional.max_pool3d(full, 2)))
        quarter = self.conv2_2(self.conv2_1(functional.max_pool3d(half, 2)))
        eighth = self.conv3_2(self.conv3_1(functional.max_pool3d(quarter, 2)))
        deepest = self.conv4_2(self.conv4_1(functional.max_pool3d(eighth, 2)))
        return Encoded((full, half, quarter, eighth), functional.dropout(deepest, DROPOUT, self.training))

    def locate(self, encoded: Encoded) -> Tensor:
        """Positions (B, 3), (z, y, x), of which only differences mean something: `omlab_medlsam.distances`."""
        position: Tensor = self.fc3(self.fc2(self.fc1(encoded.bottleneck.flatten(1))))
        return position

    def decode(self, encoded: Encoded) -> Features:
        """The features of encoded patches."""
        full, half, quarter, eighth = encoded.skips
        lowest = self.conv5_2(self.conv5_1(_joined(encoded.bottleneck, eighth)))
        feature0 = self.conv6_2(self.conv6_1(_joined(lowest, quarter)))
        feature1 = self.conv7_2(self.conv7_1(_joined(feature0, half)))
        feature2 = self.conv8_2(self.conv8_1(_joined(feature1, full)))
        return Features(feature0, feature1, feature2)

    def position(self, x: Tensor) -> Tensor:
        """Positions (B, 3) of patches: the encoder alone, a tenth of the work."""
        return self.locate(self.encode(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Features]:
        """Positions (B, 3) and features of patches (B, in, D, H, W)."""
        encoded = self.encode(x)
        return self.locate(encoded), self.decode(encoded)

    def classify(self, features: Features) -> Tensor:
        """What the head that the published file has beside gives, (B, classes, D, H, W); nothing here uses it."""
        found: Tensor = self.classification(features.whole)
        return found


def unit_length(features: Tensor) -> Tensor:
    """Features (B, C, ...) of length 1 over their channels."""
    return functional.normalize(features, dim=1)


def layers_of(network: MedLam) -> list[list[str]]:
    """Parameter names from input to head, stage by stage."""
    names = [name for name, _ in network.named_parameters()]
    stages = [[name for name in names if name.startswith(f"conv{n}_")] for n in range(9)]
    return [*stages, [name for name in names if name.startswith(("fc", "classification"))]]


def untrained(config: MedLamConfig) -> MedLam:
    """The network with values drawn as PyTorch draws them, the same each time; in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MedLam(config).eval()


def parts_of(network: MedLam) -> Iterator[tuple[str, nn.Module]]:
    """The units by name, in their order."""
    return ((name, part) for name, part in network.named_children() if isinstance(part, Unit))


def _joined(x: Tensor, skip: Tensor) -> Tensor:
    """`x` at twice its size before the skip connection."""
    return torch.cat((functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False), skip), dim=1)
