"""GPTQ (Frantar et al. 2022) as it was applied to PULSE: a reference for its numbers, slow and in float32 as published.

In production a library quantises; this says what the published files hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 128
"""Columns whose errors are spread over all later columns together. A group that begins within a block has its grid from
weights that know nothing yet of what the block has lost: so it was published."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The values that a row may take: `scale * (code - zero)`, with a scale and a zero (R, 1) for each row."""

    scale: Tensor
    zero: Tensor
    top: int

    def codes(self, weight: Tensor) -> Tensor:
        """The nearest codes of (R, C) weights."""
        return (torch.round(weight / self.scale) + self.zero).clamp(0, self.top)

    def nearest(self, weight: Tensor) -> Tensor:
        """(R, C) weights put on the grid."""
        return self.scale * (self.codes(weight) - self.zero)


def grid_of(weight: Tensor, *, bits: int, symmetric: bool) -> Grid:
    """The grid of a group of columns (R, C): from its least to its greatest weight, with 0 on it."""
    top = 2**bits - 1
    low, high = weight.amin(dim=1, keepdim=True).clamp(max=0), weight.amax(dim=1, keepdim=True).clamp(min=0)
    if symmetric:
        high = torch.maximum(low.abs(), high)
        low = torch.where(low < 0, -high, low)
    empty = (low == 0) & (high == 0)
    low, high = torch.where(empty, -1.0, low), torch.where(empty, 1.0, high)
    scale = (high - low) / top
    zero = torch.full_like(scale, (top + 1) / 2) if symmetric else torch.round(-low / scale)
    return Grid(scale=scale, zero=zero, top=top)


def hessian_of(inputs: Tensor) -> Tensor:
    """(C, C) of calibration inputs (batches, tokens, C): 2 / batches times the sum of x x^T."""
    scaled = math.sqrt(2 / len(inputs)) * inputs.flatten(0, 1)
    return scaled.T @ scaled


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A layer on its grids, columns in their own order.

    Attributes:
        weight: (R, C).
        codes: (R, C).
        scale: (R, groups).
        zero: (R, groups).
        group_of_column: (C,).
        error: What was lost: half the sum of squared errors over the squares of the factor's diagonal.
    """

    weight: Tensor
    codes: Tensor
    scale: Tensor
    zero: Tensor
    group_of_column: Tensor
    error: float


def gptq(
    weight: Tensor, hessian: Tensor, *, bits: int, group: int, damp: float, symmetric: bool, act_order: bool
) -> Quantised:
    """Quantise a layer (R, C), column by column; what a column loses is made up for by those after it.

    `group`: columns that share a grid; -1: all. `act_order`: columns of large inputs first.
    """
    columns = weight.shape[1]
    group = columns if group < 0 else group
    weight, hessian = weight.clone(), hessian.clone()
    dead = hessian.diagonal() == 0
    hessian.diagonal()[dead] = 1
    weight[:, dead] = 0
    order = torch.argsort(hessian.diagonal(), descending=True) if act_order else torch.arange(columns)
    weight, hessian = weight[:, order], hessian[order][:, order]
    factor = _factor(hessian, damp=damp)
    grids: list[Grid] = []
    codes, found, error = torch.zeros_like(weight), torch.zeros_like(weight), 0.0
    for first in range(0, columns, BLOCK):
        last = min(first + BLOCK, columns)
        block, lost = weight[:, first:last].clone(), torch.zeros_like(weight[:, first:last])
        for column in range(first, last):
            if column % group == 0:
                grids.append(grid_of(weight[:, column : column + group], bits=bits, symmetric=symmetric))
            current = block[:, column - first, None]
            codes[:, column : column + 1] = grids[-1].codes(current)
            found[:, column : column + 1] = grids[-1].nearest(current)
            off = (current - found[:, column : column + 1]) / factor[column, column]
            block[:, column - first :] -= off @ factor[column, None, column:last]
            lost[:, column - first] = off[:, 0]
        error += float((lost**2).sum()) / 2
        weight[:, last:] -= lost @ factor[first:last, last:]
    back = torch.argsort(order)
    return Quantised(
        weight=found[:, back],
        codes=codes[:, back],
        scale=torch.cat([grid.scale for grid in grids], dim=1),
        zero=torch.cat([grid.zero for grid in grids], dim=1),
        group_of_column=back // group,
        error=error,
    )


def _factor(hessian: Tensor, *, damp: float) -> Tensor:
    """(C, C) the upper Cholesky factor of the inverse of the damped Hessian."""
    damped = hessian + damp * hessian.diagonal().mean() * torch.eye(len(hessian))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def rounded(weight: Tensor, *, bits: int, group: int, symmetric: bool) -> Tensor:
    """The layer (R, C) with each weight put to the nearest point of its group's grid, and nothing made up for."""
    parts = weight.split(weight.shape[1] if group < 0 else group, dim=1)
    return torch.cat([grid_of(part, bits=bits, symmetric=symmetric).nearest(part) for part in parts], dim=1)
