"""The cascade: rigid (if any), affine and non-rigid steps; what one step registered is what the next one moves.

A volume to be registered comes as several maps of one brain, the constraints: an intensity image first, then regions (0
or 1), in a fixed order that the weights were trained with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from omlab_axonseg.registration.grids import affine_grid, identity_grid, warp
from omlab_axonseg.registration.networks import AFFINE_WIDTHS, AffineNet, MatrixNet, NonRigidNet, RigidNet

Maps = Mapping[str, Tensor]
"""(B, 1, D, H, W) by the name of the constraint."""
Fusion = Literal[0, 1]


@dataclass(frozen=True, kw_only=True)
class CascadeConfig:
    """The hyper-parameters.

    Attributes:
        constraints: names, the intensity image first.
        affine_fusion: how the affine (and rigid) network sees the maps, see `fuse`.
        nonrigid_fusion: the same of the non-rigid one.
        rigid: whether a rigid step comes first.
        box_filter: voxels a side of the field's mean filter.
        max_delta: factor on the field.
        affine_widths: channels of the affine network's convolutions.
        nonrigid_widths: channels of the non-rigid one at full and at lower resolution.
        scale: 1 for volumes of a quarter of the atlas's resolution, 2 for half, 3 for all of it; each was trained from
            the one before.
    """

    constraints: tuple[str, ...]
    affine_fusion: Fusion = 0
    nonrigid_fusion: Fusion = 1
    rigid: bool = False
    box_filter: int = 15
    max_delta: float = 1.0
    affine_widths: tuple[int, ...] = AFFINE_WIDTHS
    nonrigid_widths: tuple[int, int] = (16, 32)
    scale: int = 1

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ValueError(f"The scale of a registration is 1, 2 or 3, not {self.scale}.")
        if not self.constraints or len(set(self.constraints)) != len(self.constraints):
            raise ValueError(f"A registration has constraints with names of their own, not {self.constraints}.")

    def channels(self, fusion: Fusion) -> int:
        """Channels that `fuse` gives."""
        return 4 if fusion == 1 else 2 * len(self.constraints)


def fuse(fixed: Maps, moving: Maps, *, constraints: Sequence[str], fusion: Fusion) -> Tensor:
    """One volume (B, C, D, H, W) of all maps.

    0: fixed and moving map of each constraint in turn. 1: fixed and moving image, then for each side one label map:
    constraint i of n (the image left out) writes (i + 1) / n where its map is above 0, later ones over earlier ones.
    """
    if fusion == 0:
        return torch.cat([maps[name] for name in constraints for maps in (fixed, moving)], dim=1)
    image, *regions = constraints
    labels = []
    for maps in (fixed, moving):
        joint = torch.zeros_like(maps[image])
        for place, name in enumerate(regions, start=1):
            joint = torch.where(maps[name] > 0, place / len(regions), joint)
        labels.append(joint)
    return torch.cat([fixed[image], moving[image], *labels], dim=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """What a step found: its `grid` (B, D, H, W, 3), not clipped, and from what.

    `matrix` (B, 3, 4) of a rigid or affine one, `displacement` (B, D, H, W, 3) of a non-rigid one. `warped` are the
    moving maps sampled linearly, `raw` the regions by the nearest voxel (only where asked for).
    """

    name: str
    grid: Tensor
    warped: dict[str, Tensor]
    raw: dict[str, Tensor]
    matrix: Tensor | None = None
    displacement: Tensor | None = None


class Cascade(nn.Module):
    """The networks in their order."""

    def __init__(self, config: CascadeConfig) -> None:
        super().__init__()
        self.config = config
        seen, widths, scale = config.channels(config.affine_fusion), config.affine_widths, config.scale
        self.net = nn.ModuleDict()
        if config.rigid:
            self.net["rigid"] = nn.ModuleList([RigidNet(seen, widths=widths, scale=scale)])
        self.net["affine"] = nn.ModuleList([AffineNet(seen, widths=widths, scale=scale)])
        self.net["backbone"] = nn.ModuleList(
            [
                NonRigidNet(
                    config.channels(config.nonrigid_fusion),
                    box_filter=config.box_filter,
                    max_delta=config.max_delta,
                    widths=config.nonrigid_widths,
                    scale=scale,
                )
            ]
        )

    @property
    def smallest(self) -> int:
        """Least voxels along each side."""
        return max(part.smallest for part in self.modules() if isinstance(part, MatrixNet))

    @property
    def multiple(self) -> int:
        """What each side is a multiple of."""
        return 1 << (self.config.scale - 1)

    def forward(self, fixed: Maps, moving: Maps, *, with_raw: bool = False) -> list[Step]:
        """The steps, of maps of one size for every constraint; `with_raw` also samples regions by the nearest voxel."""
        config, image = self.config, self.config.constraints[0]
        steps = []
        maps = {name: moving[name] for name in config.constraints}
        raw = {name: one for name, one in maps.items() if with_raw and name != image}
        for name, networks in self.net.items():
            fusion = config.nonrigid_fusion if name == "backbone" else config.affine_fusion
            for network in cast(nn.ModuleList, networks):
                seen = fuse(fixed, maps, constraints=config.constraints, fusion=fusion)
                found = network(seen)
                sizes = seen.shape[2:]
                moves = name == "backbone"
                grid = identity_grid(sizes=sizes, like=found) + found if moves else affine_grid(found, sizes=sizes)
                maps = {one: warp(volume, grid) for one, volume in maps.items()}
                raw = {one: warp(volume, grid, mode="nearest") for one, volume in raw.items()}
                known = {"displacement": found} if moves else {"matrix": found}
                steps.append(Step(name=name, grid=grid, warped=maps, raw=raw, **known))
        return steps
