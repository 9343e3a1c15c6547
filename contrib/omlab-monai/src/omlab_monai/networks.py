"""MONAI's networks as omlab trains them: which there are, how they are built, what windows they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import gcd, prod
from typing import Any

import torch
from torch import nn

from omlab_volume.inference.resample import Shape

_WIDEST = 320
_KERNEL = (3, 3, 3)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """One network.

    Attributes:
        architecture: A name of `ARCHITECTURES`.
        in_channels: Of the image.
        num_classes: Outputs, the background included.
        width: Channels of the first stage.
        poolings: How DynUNet's stages halve the window (z, y, x), shallow to deep; the others halve all axes alike.
        classes: Numbers of VISTA3D's classes that are asked for.
    """

    architecture: str
    in_channels: int = 1
    num_classes: int = 2
    width: int
    poolings: tuple[Shape, ...] = ()
    classes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How a network is built.

    Attributes:
        build: Of a configuration.
        stride: What every side of a window is a multiple of; 0: what the poolings say.
        head: Prefixes of the parameters that give the classes: they start anew for other classes, but for `keeps_head`.
        keeps_head: Whether other classes are other numbers, of which the head knows many.
        width_step: What `width` is a multiple of.
    """

    build: Callable[[NetworkConfig], nn.Module]
    stride: int
    head: tuple[str, ...]
    width_step: int = 1
    keeps_head: bool = False


def built(config: NetworkConfig, *, seed: int = 0) -> nn.Module:
    """The network with fresh weights, which depend on the seed alone, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[config.architecture].build(config).eval()


def stride_of(config: NetworkConfig) -> Shape:
    """What the sides (z, y, x) of a window are multiples of."""
    stride = ARCHITECTURES[config.architecture].stride
    if stride:
        return stride, stride, stride
    z, y, x = (prod(axis) for axis in zip((1, 1, 1), *config.poolings, strict=True))
    return z, y, x


def layers_of(network: nn.Module, config: NetworkConfig) -> list[list[str]]:
    """Parameter names from input to head: MONAI builds the parts of a network in that order."""
    parts: dict[str, list[str]] = {}
    head: list[str] = []
    for name, _ in network.named_parameters():
        is_head = name.startswith(ARCHITECTURES[config.architecture].head)
        (head if is_head else parts.setdefault(name.partition(".")[0], [])).append(name)
    return [*parts.values(), head]


def _nets() -> Any:
    return import_module("monai.networks.nets")  # it is large: who only lists models does without


def _segresnet(config: NetworkConfig) -> nn.Module:
    network: nn.Module = _nets().SegResNet(
        spatial_dims=3,
        init_filters=config.width,
        in_channels=config.in_channels,
        out_channels=config.num_classes,
        norm=("GROUP", {"num_groups": gcd(8, config.width)}),
    )
    return network


def _segresnet_ds(config: NetworkConfig) -> nn.Module:
    network: nn.Module = _nets().SegResNetDS(
        spatial_dims=3,
        init_filters=config.width,
        in_channels=config.in_channels,
        out_channels=config.num_classes,
        norm="instance",
        blocks_down=(1, 2, 2, 4),
    )
    return network


def _swinunetr(config: NetworkConfig) -> nn.Module:
    network: nn.Module = _nets().SwinUNETR(
        in_channels=config.in_channels, out_channels=config.num_classes, feature_size=config.width, spatial_dims=3
    )
    return network


def _dynunet(config: NetworkConfig) -> nn.Module:
    stages = len(config.poolings) + 1
    network: nn.Module = _nets().DynUNet(
        spatial_dims=3,
        in_channels=config.in_channels,
        out_channels=config.num_classes,
        kernel_size=[_KERNEL] * stages,
        strides=[(1, 1, 1), *config.poolings],
        upsample_kernel_size=list(config.poolings),
        filters=[min(_WIDEST, config.width * 2**stage) for stage in range(stages)],
    )
    return network


def _mednext(config: NetworkConfig) -> nn.Module:
    network: nn.Module = _nets().MedNeXt(
        spatial_dims=3,
        init_filters=config.width,
        in_channels=config.in_channels,
        out_channels=config.num_classes,
        kernel_size=3,
        use_residual_connection=True,
    )
    return network


def _vista3d(config: NetworkConfig) -> nn.Module:
    network: nn.Module = import_module("omlab_monai.vista3d").AutomaticVista3D(
        in_channels=config.in_channels, width=config.width, classes=config.classes
    )
    return network


ARCHITECTURES: Mapping[str, Architecture] = {
    "segresnet": Architecture(build=_segresnet, stride=8, head=("conv_final.",)),
    "segresnet-ds": Architecture(build=_segresnet_ds, stride=8, head=("up_layers.2.head.",)),
    "swinunetr": Architecture(build=_swinunetr, stride=32, head=("out.",), width_step=12),
    "dynunet": Architecture(build=_dynunet, stride=0, head=("output_block.",)),
    "mednext": Architecture(build=_mednext, stride=16, head=("out_0.",)),
    "vista3d": Architecture(build=_vista3d, stride=16, head=("class_head.",), width_step=8, keeps_head=True),
}


def fitted(window: Sequence[int], config: NetworkConfig) -> Shape:
    """`window` (z, y, x) with its sides rounded up to what the network takes, twice its stride at least.

    At once the stride a single voxel would be left, which nothing can be normalised by.
    """
    sides = zip(window, stride_of(config), strict=True)
    z, y, x = (max(2, -(-size // step)) * step if step > 1 else size for size, step in sides)
    return z, y, x
