"""Labels on the original grid from blended scores, without a volume per class.

The usual way resamples K class volumes to the output grid and takes the argmax. Here each final cell of the
sliding window is resampled class by class, chunk of planes by chunk of planes, against a running best value
and label; what a cell needs of its lower neighbours is one plane along each axis, kept from them. Equal to
the usual way except at ties of rounding; the lowest class wins where scores are equal.

Interpolation is linear (order 1), or nearest (order 0) along a separate axis, as nnU-Net v1 and v2 export.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab.errors import OmlabError, OmlabWarning
from omlab_volume.resample import LinearSteps, linear_steps
from omlab_volume.sliding_window import Cell, Combine, Network, SlidingWindow, not_finite

_CACHE_VOXELS = 1 << 18  # output voxels handled at a time on the CPU
_DEVICE_VOXELS = 1 << 24  # and on a GPU
_FEWEST_PLANES = 4  # a chunk's planes share what is interpolated within planes


class MemoryWarning(OmlabWarning):
    """The GPU's memory did not suffice, and a slower way was taken."""


def label_type(classes: int) -> type[np.unsignedinteger[Any]]:
    """The smallest integer type for `classes` labels: uint8 or uint16."""
    if classes > 1 << 16:
        raise ValueError(f"{classes} classes are more than the 65536 that a label map can hold")
    return np.uint8 if classes <= 1 << 8 else np.uint16


class LabelExport:
    """Decides labels (Z, Y, X) on the output grid from the cells of a sliding window.

    Args:
        size: (D, H, W) of the image that was predicted.
        shape: (Z, Y, X) of the output.
        classes: K.
        separate: the axis along which the nearest voxel is taken, or None.
    """

    def __init__(self, size: Sequence[int], shape: Sequence[int], *, classes: int, separate: int | None = None) -> None:
        if len(size) != 3 or len(shape) != 3 or min(*size, *shape) < 1:
            raise ValueError(f"size {tuple(size)} and shape {tuple(shape)} must be three positive numbers each")
        self.size = tuple(int(n) for n in size)
        self.shape = tuple(int(n) for n in shape)
        self.classes = classes
        self.steps = [
            linear_steps(have, want, order=0 if axis == separate or have == want else 1)
            for axis, (have, want) in enumerate(zip(self.size, self.shape, strict=True))
        ]
        self.labels = np.zeros(self.shape, label_type(classes))
        self._linear = [bool((steps.lower != steps.upper).any()) for steps in self.steps]
        self._faces: list[dict[tuple[int, ...], Tensor]] = [{}, {}, {}]

    def add(self, cell: Cell) -> None:
        """Decide the voxels whose scores are complete with `cell`; its lower neighbours came before.

        Raises:
            OmlabError: scores are not finite.
        """
        with torch.inference_mode():
            # A positive weight leaves the argmax of a voxel as it is: it matters only where voxels are mixed.
            scores = cell.scores if self.shape == self.size else cell.mean()
            block, (z, y, x) = self._with_neighbours(scores, cell)
            rows = _within(self.steps[1], cell.y, origin=y)
            columns = _within(self.steps[2], cell.x, origin=x)
            planes = np.searchsorted(self.steps[0].upper, [cell.z.start, cell.z.stop])
            per_plane = (rows.out.stop - rows.out.start) * (columns.out.stop - columns.out.start)
            if not per_plane:
                return
            voxels = _DEVICE_VOXELS if block.is_cuda else _CACHE_VOXELS
            count = max(_FEWEST_PLANES, voxels // per_plane)
            for first in range(planes[0], planes[1], count):
                chosen = slice(first, min(first + count, int(planes[1])))
                part = _outputs(self.steps[0], chosen, origin=z)
                labels = _best(block[:, part.first : part.last], part, rows, columns).cpu().numpy()
                self.labels[chosen, rows.out, columns.out] = labels.astype(self.labels.dtype, copy=False)

    def _with_neighbours(self, scores: Tensor, cell: Cell) -> tuple[Tensor, list[int]]:
        """`scores` with the last plane of the lower neighbours where outputs mix them; and where that block begins."""
        block, inside = scores, (cell.z, cell.y, cell.x)
        begin = [part.start for part in inside]
        for axis, faces in enumerate(self._faces):
            if not self._linear[axis]:
                continue
            here = tuple(part.start for other, part in enumerate(inside) if other != axis)
            before = faces.pop(here, None)
            # The block already has the neighbours along the earlier axes, so the face has the corners too.
            if inside[axis].stop < self.size[axis]:
                faces[here] = block.narrow(axis + 1, block.shape[axis + 1] - 1, 1).clone()
            if before is not None:
                block = torch.cat([before, block], dim=axis + 1)
                begin[axis] -= 1
        return block, begin


class _Rows:
    """Outputs `out` along an axis, made of inputs `first:last` (counted from the block's begin) by `steps`."""

    def __init__(self, out: slice, steps: LinearSteps, first: int, last: int) -> None:
        self.out = out
        self.first = first
        self.last = last
        self.identity = len(steps.lower) == last - first and bool(
            (steps.lower == np.arange(first, last)).all() and not steps.weight.any()
        )
        self.nearest = bool((steps.lower == steps.upper).all())
        self.lower = torch.from_numpy(steps.lower - first)
        self.upper = torch.from_numpy(steps.upper - first)
        self.weight = torch.from_numpy(steps.weight)

    def apply(self, values: Tensor, axis: int) -> Tensor:
        """`values` (three axes) interpolated along `axis`."""
        if self.identity:
            return values
        device = values.device
        low = values.index_select(axis, self.lower.to(device))
        if self.nearest:
            return low
        weight = self.weight.to(device).view([-1 if index == axis else 1 for index in range(3)])
        return low.lerp_(values.index_select(axis, self.upper.to(device)), weight)


def _outputs(steps: LinearSteps, out: slice, *, origin: int) -> _Rows:
    steps = steps.part(out, origin=origin)
    if len(steps.lower) == 0:
        return _Rows(out, steps, 0, 0)
    return _Rows(out, steps, int(steps.lower[0]), int(steps.upper[-1]) + 1)


def _within(steps: LinearSteps, inputs: slice, *, origin: int) -> _Rows:
    """The outputs that are complete once `inputs` are: their upper input lies there."""
    first, last = (int(at) for at in np.searchsorted(steps.upper, [inputs.start, inputs.stop]))
    return _outputs(steps, slice(first, last), origin=origin)


def _best(block: Tensor, planes: _Rows, rows: _Rows, columns: _Rows) -> Tensor:
    """The class of the highest score, (Zo, Yo, Xo), of a block (K, dz, dy, dx)."""

    def scores_of(index: int) -> Tensor:
        scores = columns.apply(block[index, :, rows.first : rows.last, columns.first : columns.last], 2)
        return planes.apply(rows.apply(scores, 1), 0)

    best = scores_of(0).clone()
    labels = torch.zeros_like(best, dtype=torch.uint8 if len(block) <= 256 else torch.int32)
    step = torch.empty_like(labels)
    higher = torch.empty_like(best, dtype=torch.bool)
    for index in range(1, len(block)):
        scores = scores_of(index)
        # Classes rise, so the latest that was higher is the largest: a maximum instead of a masked fill.
        torch.gt(scores, best, out=higher)
        torch.mul(higher, index, out=step)
        torch.maximum(labels, step, out=labels)
        torch.maximum(best, scores, out=best)
    if not torch.isfinite(best).all():
        raise not_finite()
    return labels


def labels_from_scores(scores: Tensor, shape: Sequence[int], *, separate: int | None = None) -> NDArray[Any]:
    """The argmax over classes of `scores` (K, D, H, W) resampled to `shape`, without the resampled scores.

    Returns:
        uint8 (uint16 above 256 classes) of `shape`.
    """
    export = LabelExport(scores.shape[1:], shape, classes=len(scores), separate=separate)
    z, y, x = (slice(0, n) for n in scores.shape[1:])
    export.add(Cell(z, y, x, scores, None))
    return export.labels


def predict_labels(
    network: Network,
    image: Tensor,
    *,
    patch_size: Sequence[int],
    classes: int,
    shape: Sequence[int] | None = None,
    separate: int | None = None,
    step: float = 0.5,
    mirror: bool | Sequence[int] = True,
    combine: Combine = "probabilities",
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    accumulate_device: torch.device | str | None = None,
) -> NDArray[Any]:
    """Labels of `image` (C, D, H, W) on a grid of `shape` (Z, Y, X); by default the image's own.

    Where CUDA's memory does not suffice the batch is halved, then the sums are kept on the CPU.

    Args:
        network: windows (B, C, *patch_size) to scores (B, K, *patch_size).
        image: prepared for the network.
        patch_size: as in `SlidingWindow`, like all below `separate`.
        classes: K.
        shape: of the output, such as `Prepared.cropped_shape`.
        separate: the axis with order 0, `Prepared.separate`.
        step: distance of windows.
        mirror: over which flips to average.
        combine: what is blended.
        batch_size: windows in one call.
        device: the network's.
        accumulate_device: of the sums.

    Returns:
        uint8 (uint16 above 256 classes).

    Raises:
        InputError: `image` is not (C, D, H, W).
        OmlabError: scores of a wrong shape or not finite, or memory that does not suffice in any way.
    """
    z, y, x = (int(size) for size in patch_size)
    how = SlidingWindow(
        patch_size=(z, y, x),
        classes=classes,
        step=step,
        mirror=mirror,
        combine=combine,
        batch_size=batch_size,
        device=device,
        accumulate_device=accumulate_device,
    )
    wanted = tuple(image.shape[1:]) if shape is None else tuple(shape)
    try:
        return _run(how, network, image, wanted, separate)
    except torch.OutOfMemoryError:
        warnings.warn(
            "The GPU's memory did not suffice; the scores are summed on the CPU.", MemoryWarning, stacklevel=2
        )
    torch.cuda.empty_cache()
    try:
        return _run(replace(how, accumulate_device="cpu", batch_size=1), network, image, wanted, separate)
    except torch.OutOfMemoryError:
        raise OmlabError(
            f"The GPU's memory does not suffice for one window of {how.patch_size} voxels; use a smaller model or "
            "the CPU (device 'cpu')."
        ) from None


def _run(
    how: SlidingWindow, network: Network, image: Tensor, shape: tuple[int, ...], separate: int | None
) -> NDArray[Any]:
    export = None
    for cell in how.cells(network, image):
        export = export or LabelExport(image.shape[1:], shape, classes=how.classes, separate=separate)
        export.add(cell)
        del cell  # else it lives on while the next window is predicted
    assert export is not None
    return export.labels
