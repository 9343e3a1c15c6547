"""`volume_fusion`: the image and the labels of the pre-training task Volume Fusion, from draws made outside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omlab_kernels.dispatch import form_for
from omlab_kernels.fusion import plain
from omlab_kernels.operator import operator


def volume_fusion(
    first: Tensor, second: Tensor, classes: Tensor, *, block: Sequence[int], offset: Sequence[int], count: int
) -> tuple[Tensor, Tensor]:
    """Mix blocks of `first` into `second`, and say which weight each voxel got.

    All that is random is drawn by the caller: a seed gives the same image on every device. Not differentiable: this
    makes training data.

    Args:
        first: (C, D, H, W), the foreground.
        second: (C, D, H, W), the background, of the same type.
        classes: (a, b, c) integers of 0..`count` for the blocks of the grid; 0 is background.
        block: Voxels of a block on each axis.
        offset: Voxels before the grid on each axis. The grid must end within the volume.
        count: K, the class of weight 1.

    Returns:
        The fused volume (C, D, H, W) in the type of `first`, and the labels (D, H, W) in uint8.

    Raises:
        ValueError: Shapes do not fit, the grid leaves the volume, or (looked for on the CPU only) a class is unknown.
    """
    if first.ndim != 4 or first.shape != second.shape or first.dtype != second.dtype or not first.is_floating_point():
        found = f"{first.dtype} {tuple(first.shape)} and {second.dtype} {tuple(second.shape)}"
        raise ValueError(f"Volumes to fuse have one shape (C, D, H, W) and one floating-point type, not {found}.")
    if classes.ndim != 3 or classes.is_floating_point() or not len(block) == len(offset) == 3:
        raise ValueError(f"Blocks have three axes and integer classes, not {classes.dtype} {tuple(classes.shape)}.")
    if not 1 <= count <= 255:
        raise ValueError(f"Volume Fusion has 1 to 255 classes besides the background, not {count}.")
    for size, start, cells, length in zip(block, offset, classes.shape, first.shape[1:], strict=True):
        if size < 1 or start < 0 or start + cells * size > length:
            raise ValueError(f"{cells} blocks of {size} voxels after {start} do not lie within {length} voxels.")
    fused, labels = _fusion(first, second, classes, list(block), list(offset), count)
    return fused, labels


@operator("volume_fusion")
def _fusion(
    first: Tensor, second: Tensor, classes: Tensor, block: Sequence[int], offset: Sequence[int], count: int
) -> tuple[Tensor, Tensor]:
    if classes.device.type == "cpu" and classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) <= count:
        raise ValueError(f"Classes of blocks are 0 to {count}, not {int(classes.min())} to {int(classes.max())}.")
    if form_for(first) == "triton" and first.numel():
        from omlab_kernels.fusion import triton

        return triton.volume_fusion(first, second, classes, block=block, offset=offset, count=count)
    return plain.volume_fusion(first, second, classes, block=block, offset=offset, count=count)


@torch.library.register_fake("omlab_kernels::volume_fusion")  # type: ignore[untyped-decorator]
def _(
    first: Tensor, second: Tensor, classes: Tensor, block: Sequence[int], offset: Sequence[int], count: int
) -> tuple[Tensor, Tensor]:
    fused = torch.empty_like(first, memory_format=torch.contiguous_format)
    return fused, first.new_empty(first.shape[1:], dtype=torch.uint8)
