"""Volume Fusion's older forms: boxes that overlap, and blocks taken from other places.

Both make the map of classes in their own way and mix as `naive` says. Source: the first code of Wang et al., MIS-FM,
arXiv 2306.16925 (boxes at random centres), and PyMIC (shuffled blocks).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omlab_kernels.fusion.op import volume_fusion

Box = tuple[tuple[int, int, int], tuple[int, int, int], int]


def volume_fusion_boxes(first: Tensor, second: Tensor, boxes: Sequence[Box], *, count: int) -> tuple[Tensor, Tensor]:
    """Mix boxes of `first` into `second`; where they overlap the last one counts.

    In the published code a batch is its own foreground, rolled by one: `first` is the sample before `second`.

    Args:
        first: (C, D, H, W), the foreground.
        second: (C, D, H, W), the background, of the same type.
        boxes: (centre, size, class) of each: size voxels from centre - size // 2 on, on three axes, cut to the volume.
        count: K, the class of weight 1.

    Returns:
        As `volume_fusion`.

    Raises:
        ValueError: As `volume_fusion`, or a class is not 0 to K.
    """
    labels = torch.zeros(second.shape[1:], dtype=torch.long)
    for centre, size, number in boxes:
        if not 0 <= number <= count:
            raise ValueError(f"Classes of boxes are 0 to {count}, not {number}.")
        starts = [at - n // 2 for at, n in zip(centre, size, strict=True)]
        labels[tuple(slice(max(0, at), max(0, at + n)) for at, n in zip(starts, size, strict=True))] = number
    return volume_fusion(first, second, labels.to(second.device), block=(1, 1, 1), offset=(0, 0, 0), count=count)


def volume_fusion_shuffled(
    first: Tensor,
    second: Tensor,
    classes: Tensor,
    sources: Tensor,
    *,
    block: Sequence[int],
    offset: Sequence[int],
    count: int,
) -> tuple[Tensor, Tensor]:
    """As `volume_fusion`, but what is mixed into a block comes from another block of `first`.

    Args:
        first: As in `volume_fusion`, like all that is not named here.
        second: See `first`.
        classes: See `first`.
        sources: (a, b, c), for each block the number of the one it takes, counted along the last axis first.
        block: See `first`.
        offset: See `first`.
        count: See `first`.

    Returns:
        As `volume_fusion`.

    Raises:
        ValueError: As `volume_fusion`, or `sources` does not go with `classes`.
    """
    if sources.shape != classes.shape or sources.is_floating_point():
        raise ValueError(f"Sources are integers {tuple(classes.shape)}, not {sources.dtype} {tuple(sources.shape)}.")
    if sources.numel() and not 0 <= int(sources.min()) <= int(sources.max()) < sources.numel():
        raise ValueError(f"Sources are 0 to {sources.numel() - 1}, not {int(sources.min())} to {int(sources.max())}.")
    places = [torch.arange(length) for length in first.shape[1:]]
    inside = [slice(start, start + n * size) for start, n, size in zip(offset, classes.shape, block, strict=True)]
    taken = torch.unravel_index(sources.cpu().long(), classes.shape)
    for axis, (cell, size, start) in enumerate(zip(taken, block, offset, strict=True)):
        for other, repeats in enumerate(block):
            cell = cell.repeat_interleave(repeats, other)  # for each voxel of the grid
        along = torch.arange(cell.shape[axis]) % size
        places[axis] = start + cell * size + along.view([-1 if other == axis else 1 for other in range(3)])
    moved = first.clone()
    moved[(slice(None), *inside)] = first[
        :, places[0].to(first.device), places[1].to(first.device), places[2].to(first.device)
    ]
    return volume_fusion(moved, second, classes, block=block, offset=offset, count=count)
