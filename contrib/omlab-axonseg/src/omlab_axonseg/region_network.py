"""The region network: a CEA-Net for each view of a brain, and what a file of weights holds of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from omlab.errors import WeightsError
from omlab_axonseg.cea_net import SMALLEST, STRIDE, CeaNet

VIEWS: Mapping[str, int] = {"coronal": 2, "horizontal": 0}
"""The axis of (dorsoventral, left-right, front-back) that each counts its slices along."""
ATLAS = "SLA"
"""Superior, left, anterior: where the Allen atlas begins to count dorsoventral, left-right and front-back."""
_SIDES = ("SI", "LR", "AP")
_NUMBERED = re.compile(r"_([12])\.[^.]+$")


@dataclass(frozen=True, kw_only=True)
class RegionConfig:
    """The hyper-parameters.

    Attributes:
        views: Of `VIEWS`, each with a network of its own.
        num_classes: Regions, each its own sigmoid.
        sizes: Voxels dorsoventral, left-right, front-back that slices are brought to (published: coronal 320 x 448,
            horizontal 448 x 512).
        widths: Of the encoder's layers.
        blocks: Of each layer.
        begin: The sides of the brain where (dorsoventral, left-right, front-back) begin: S or I, L or R, A or P.
    """

    views: tuple[str, ...] = tuple(VIEWS)
    num_classes: int = 2
    sizes: tuple[int, int, int] = (320, 448, 512)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    begin: str = ATLAS

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) < len(self.views) or not set(self.views) <= set(VIEWS):
            raise ValueError(f"views must be some of {', '.join(VIEWS)}, each once, not {list(self.views)}.")
        if any(size < SMALLEST or size % STRIDE for size in self.sizes):
            raise ValueError(f"sizes must be multiples of {STRIDE} of at least {SMALLEST}, not {list(self.sizes)}.")

        if len(self.begin) != 3 or any(side not in pair for side, pair in zip(self.begin, _SIDES, strict=True)):
            raise ValueError(f"slices_from must be S or I, L or R, and A or P, such as {ATLAS}, not {self.begin}.")

    def slice_size(self, view: str) -> tuple[int, int]:
        """Rows and columns of a view's slices."""
        rows, columns = (size for axis, size in enumerate(self.sizes) if axis != VIEWS[view])
        return rows, columns


TINY: Mapping[str, Any] = {"sizes": (192, 192, 192), "widths": (4, 4, 8, 8), "blocks": (1, 1, 1, 1)}
"""Ours, for tests and demonstrations; never published."""


class RegionNet(nn.Module):
    """A CEA-Net by view, under its name."""

    def __init__(self, config: RegionConfig) -> None:
        super().__init__()
        self.config = config
        for view in config.views:
            network = CeaNet(num_classes=config.num_classes, widths=config.widths, blocks=config.blocks)
            self.add_module(view, network)

    def forward(self, slices: Tensor, *, view: str) -> Tensor:
        """(B, 1, rows, columns), each from 0 to 1 -> logits (B, K, rows, columns)."""
        logits: Tensor = self.get_submodule(view)(slices)
        return logits


def untrained(config: RegionConfig, *, seed: int = 0) -> RegionNet:
    """A network with fresh weights that depend on the seed alone, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RegionNet(config).eval()


def to_config(config: RegionConfig) -> dict[str, Any]:
    """As JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def from_config(values: Mapping[str, Any]) -> RegionConfig:
    """The reverse of `to_config`. Raises `WeightsError` for what is none."""
    try:
        tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return RegionConfig(**tuples)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"The configuration is not one of a region network ({error}).") from error


def with_view(state: Mapping[str, Tensor], *, name: str, views: Sequence[str]) -> Mapping[str, Tensor]:
    """A file's weights under the names of their views: as they are for an adapted model, else by its name or `views`.

    Upstream's training writes the network of coronal slices as `..._1.pth` and that of horizontal ones as `..._2.pth`.
    Raises `WeightsError` where nothing tells the view.
    """
    if any(key.partition(".")[0] in VIEWS for key in state):
        return state
    numbered = _NUMBERED.search(name)
    if name in VIEWS:
        view = name
    elif len(views) == 1:
        view = views[0]
    elif numbered is not None:
        view = list(VIEWS)[int(numbered[1]) - 1]
    else:
        raise WeightsError(
            f"{name} holds the network of one view, and its name does not end in _1 (coronal) or _2 (horizontal): say "
            "which with -s views=coronal or -s views=horizontal."
        )
    return {f"{view}.{key}": one for key, one in state.items()}


def config_of(state: Mapping[str, Tensor], *, source: str, base: RegionConfig) -> RegionConfig:
    """The hyper-parameters of a file's networks; slices have the sizes of `base`. Raises `WeightsError`."""
    views = tuple(view for view in VIEWS if any(key.startswith(f"{view}.") for key in state))
    found = []
    for view in views:
        layers = [f"{view}.encoder{n}." for n in range(1, 5)]
        first, last = [f"{layer}0.conv1.weight" for layer in layers], f"{view}.finalconv3.weight"
        lacking = [key for key in (*first, last) if key not in state]
        if lacking:
            raise WeightsError(f"{source} is no region network: it has no '{lacking[0].removeprefix(f'{view}.')}'.")
        blocks = [len({key.split(".")[2] for key in state if key.startswith(layer)}) for layer in layers]
        found.append(([int(state[key].shape[0]) for key in first], blocks, int(state[last].shape[0])))
    if any(one != found[0] for one in found):
        raise WeightsError(f"{source}: the networks of the two views differ in their regions or widths.")
    widths, blocks, classes = found[0]
    return from_config({**to_config(base), "views": views, "num_classes": classes, "widths": widths, "blocks": blocks})
