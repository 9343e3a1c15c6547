# mypy: disable-error-code="untyped-decorator,no-untyped-call,no-untyped-def,import-untyped,attr-defined"
# Triton's decorators and language are untyped.
"""The same in Triton: each voxel of both volumes is read once, the fused volume and the labels are written once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from omlab_kernels import tiles
from omlab_kernels.dispatch import on_its_device


@triton.jit
def _cell(place, size, start, cells):
    """The cell of an axis, and whether there is one."""
    away = place - start
    cell = away // size
    return cell, (away >= 0) & (cell < cells)


# Blocks, places and numbers of cells are drawn anew for each image: they must not make the kernel compile again.
_DRAWN = [
    "channels", "height", "width", "voxels", "size_d", "size_h", "size_w", "start_d", "start_h", "start_w",
    "cells_d", "cells_h", "cells_w", "count", "fc", "fd", "fh", "fw", "sc", "sd", "sh", "sw",
]  # fmt: skip


@triton.jit(do_not_specialize=_DRAWN)
def _fusion_kernel(
    first, second, classes, fused, labels, channels, height, width, voxels,
    size_d, size_h, size_w, start_d, start_h, start_w, cells_d, cells_h, cells_w, count,
    fc, fd, fh, fw, sc, sd, sh, sw, V: tl.constexpr,
):  # fmt: skip
    voxel = tl.program_id(0).to(tl.int64) * V + tl.arange(0, V)
    inside = voxel < voxels
    d, h, w = voxel // width // height, voxel // width % height, voxel % width
    cell_d, in_d = _cell(d, size_d, start_d, cells_d)
    cell_h, in_h = _cell(h, size_h, start_h, cells_h)
    cell_w, in_w = _cell(w, size_w, start_w, cells_w)
    here = (cell_d * cells_h + cell_h) * cells_w + cell_w
    number = tl.load(classes + here, mask=inside & in_d & in_h & in_w, other=0)
    tl.store(labels + voxel, number.to(tl.uint8), mask=inside)
    weight = number.to(tl.float32) / count
    one = first + d * fd + h * fh + w * fw
    other = second + d * sd + h * sh + w * sw
    goal = fused + voxel
    for _ in range(channels):  # pointers walk on, as a channel may lie 2^31 elements away
        front = tl.load(one, mask=inside, other=0.0).to(tl.float32)
        back = tl.load(other, mask=inside, other=0.0).to(tl.float32)
        tl.store(goal, (back + weight * (front - back)).to(fused.dtype.element_ty), mask=inside)
        one += fc
        other += sc
        goal += voxels


@on_its_device
def volume_fusion(
    first: Tensor, second: Tensor, classes: Tensor, *, block: Sequence[int], offset: Sequence[int], count: int
) -> tuple[Tensor, Tensor]:
    """As `naive.volume_fusion`."""
    fused = torch.empty_like(first, memory_format=torch.contiguous_format)
    labels = torch.empty(first.shape[1:], dtype=torch.uint8, device=first.device)
    v, warps, _ = tiles.sweep("fusion")
    _fusion_kernel[(triton.cdiv(labels.numel(), v),)](
        first, second, classes.contiguous(), fused, labels, first.shape[0], *first.shape[2:],
        labels.numel(), *block, *offset, *classes.shape, float(count),
        *first.stride(), *second.stride(), V=v, num_warps=warps,
    )  # fmt: skip
    return fused, labels
