"""The networks of the cascade: affine, rigid and non-rigid. Keys are those of the published checkpoints.

Li et al., D-LMBmap, Nature Methods 2023; the non-rigid one follows VoxelMorph (Balakrishnan et al., IEEE TMI 2019).
A network of scale s was trained at scale s - 1 first, on volumes of half the size: it looks at every 2^(s - 1)-th voxel
as before, and has branches that add what lies between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_axonseg.registration.mean_filter import mean_filter

SLOPE = 0.01
AFFINE_WIDTHS = (16, 32, 64, 128, 128, 256, 256, 512, 512)
AFFINE_STRIDES = (2, 2, 1, 2, 1, 2, 1, 2, 1)


def _conv(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1)
    return nn.Sequential(conv, nn.LeakyReLU(SLOPE))


def smallest_side(strides: Sequence[int] = AFFINE_STRIDES) -> int:
    """Least voxels along each side: the last convolution is 3^3 without padding (65 after the published strides)."""
    return 2 * math.prod(strides) + 1


class MatrixNet(nn.Module):
    """Convolutions to two means over space: what is common to the affine and the rigid network.

    Args:
        in_channels: Of the fused volumes.
        turn: Numbers of the first head.
        first_stride: Of the first convolution.
        widths: Channels of the convolutions.
        scale: It sees every 2^(scale - 1)-th voxel.
    """

    def __init__(
        self, in_channels: int, *, turn: int, first_stride: int, widths: Sequence[int] = AFFINE_WIDTHS, scale: int = 1
    ) -> None:
        super().__init__()
        self.every = 1 << (scale - 1)
        strides = (first_stride, *AFFINE_STRIDES[1 : len(widths)])
        before = (in_channels, *widths[:-1])
        self.conv_list = nn.ModuleList(
            _conv(into, out, stride=stride) for into, out, stride in zip(before, widths, strides, strict=True)
        )
        self.smallest = self.every * (smallest_side(strides) - 1) + 1
        self.conv_w = nn.Conv3d(widths[-1], turn, 3)
        self.conv_b = nn.Conv3d(widths[-1], 3, 3)

    def means(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, D, H, W) -> (B, turn) and (B, 3). Raises `ValueError` for a side of less than `smallest`."""
        if min(x.shape[2:]) < self.smallest:
            raise ValueError(f"Sides must be at least {self.smallest} voxels, not {tuple(x.shape[2:])}.")
        x = x[:, :, :: self.every, :: self.every, :: self.every]
        for conv in self.conv_list:
            x = conv(x)
        return self.conv_w(x).mean(dim=(2, 3, 4)), self.conv_b(x).mean(dim=(2, 3, 4))


class AffineNet(MatrixNet):
    """A 3x4 matrix: the identity and nine numbers, beside a shift."""

    def __init__(self, in_channels: int, *, widths: Sequence[int] = AFFINE_WIDTHS, scale: int = 1) -> None:
        super().__init__(in_channels, turn=9, first_stride=2, widths=widths, scale=scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, 3, 4)."""
        change, shift = self.means(x)
        matrix = torch.eye(3, device=x.device, dtype=change.dtype) + change.view(-1, 3, 3)
        return torch.cat([matrix, shift[:, :, None]], dim=2)


class RigidNet(MatrixNet):
    """A 3x4 matrix of three angles (radians) and three shifts, each from -1 to 1."""

    def __init__(self, in_channels: int, *, widths: Sequence[int] = AFFINE_WIDTHS, scale: int = 1) -> None:
        super().__init__(in_channels, turn=3, first_stride=1, widths=widths, scale=scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, 3, 4)."""
        angles, shift = self.means(x)
        return torch.cat([published_rotation(angles.tanh()), shift.tanh()[:, :, None]], dim=2)


def published_rotation(angles: Tensor) -> Tensor:
    """Rz(a0) Ry(a1) Rx(a2) of angles (B, 3) in radians, with the sign of row 3, column 2 that upstream has.

    That slip makes it no true rotation; the weights were trained with it.
    """
    (cz, cy, cx), (sz, sy, sx) = angles.cos().unbind(1), angles.sin().unbind(1)
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, -cy * sx, cy * cx),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


class NonRigidNet(nn.Module):
    """A displacement for each voxel, in grid units (2 is the whole side).

    The last convolution is followed by LeakyReLU and then tanh, so that negative displacements are a hundred times
    harder to reach: the weights were trained so. The field is smoothed by a mean filter of `box_filter` voxels a side.

    At a `scale` above 1 branch b of 0, 1, ..., scale - 1 begins at every 2^(scale - 1 - b)-th voxel and halves b times.
    The network works on the sum of the branches; each then doubles its copy of the field b times, looking at what it
    saw on its way down, and the fields are added. Sides are multiples of 2^(scale - 1).
    """

    def __init__(
        self,
        in_channels: int,
        *,
        box_filter: int = 15,
        max_delta: float = 1.0,
        widths: tuple[int, int] = (16, 32),
        scale: int = 1,
    ) -> None:
        super().__init__()
        self.box_filter, self.max_delta, self.scale = box_filter, max_delta, scale
        fine, deep = widths
        self.dsample_module_list_list = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(_conv(in_channels, fine, stride=2), _conv(fine, in_channels)) for _ in range(branch)
            )
            for branch in range(scale)
        )
        self.encoder_0 = _conv(in_channels, fine)
        self.encoder_1 = _conv(fine, deep, stride=2)
        self.encoder_2 = _conv(deep, deep, stride=2)
        self.encoder_3 = _conv(deep, deep, stride=2)
        self.decoder_0 = _conv(deep, deep)
        self.decoder_1 = _conv(2 * deep, deep)
        self.decoder_2 = _conv(2 * deep, deep)
        self.decoder_3 = _conv(deep + fine, deep)
        self.decoder_4 = _conv(deep, deep)
        self.decoder_5 = _conv(deep + in_channels, fine)
        self.decoder_6 = _conv(fine, fine)
        self.decoder_7 = _conv(fine, 3)
        self.usample_module_list_list = nn.ModuleList(
            nn.ModuleList(_conv(3 + in_channels, 3) for _ in range(branch)) for branch in range(scale)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> displacement (B, D, H, W, 3) in x, y, z order. Raises `ValueError` for other sides."""
        coarsest = 1 << (self.scale - 1)
        if any(side % coarsest for side in x.shape[2:]):
            raise ValueError(f"Sides must be multiples of {coarsest}, not {tuple(x.shape[2:])}.")
        seen = []
        for branch, halvings in enumerate(self.dsample_module_list_list):
            every = coarsest >> branch
            maps = [x[:, :, ::every, ::every, ::every]]
            for halve in cast(nn.ModuleList, halvings):
                maps.append(halve(maps[-1]))
            seen.append(maps)
        field = self._field(torch.stack([maps[-1] for maps in seen]).sum(0))
        fields = [
            self._doubled(field, maps, cast(nn.ModuleList, doublings), like=x)
            for maps, doublings in zip(seen, self.usample_module_list_list, strict=True)
        ]
        field = torch.stack(fields).sum(0).tanh()
        return mean_filter(field, size=self.box_filter).movedim(1, -1) * self.max_delta

    def _field(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, 3, D, H, W)."""
        e0 = self.encoder_0(x)
        e1 = self.encoder_1(e0)
        e2 = self.encoder_2(e1)
        y = self.decoder_0(self.encoder_3(e2))
        y = self.decoder_1(torch.cat([_resized(y, like=e2), e2], dim=1))
        y = self.decoder_2(torch.cat([_resized(y, like=e1), e1], dim=1))
        y = self.decoder_3(torch.cat([_resized(y, like=e0), e0], dim=1))
        y = self.decoder_5(torch.cat([self.decoder_4(y), x], dim=1))
        field: Tensor = self.decoder_7(self.decoder_6(y))
        return field

    def _doubled(self, field: Tensor, maps: Sequence[Tensor], doublings: nn.ModuleList, *, like: Tensor) -> Tensor:
        """A branch's field at the size of `like`, from the smallest of its `maps` on."""
        upwards = list(reversed(maps))
        for doubling, here, finer in zip(doublings, upwards[:-1], upwards[1:], strict=True):
            conv, act = cast(nn.Sequential, doubling)
            field = act(_resized(conv(torch.cat([field, here], dim=1)), like=finer))
        return _resized(field, like=like)


def _resized(x: Tensor, *, like: Tensor) -> Tensor:
    if x.shape[2:] == like.shape[2:]:
        return x
    return functional.interpolate(x, size=like.shape[2:], mode="trilinear", align_corners=False)
