"""Labels on the original grid from blended scores, without a volume per class.

The usual way resamples K class volumes to the output grid and takes the argmax. Here each final cell of the
sliding window is resampled class by class against a running best value and label
(`omlab_kernels.window_argmax`); what a cell needs of its lower neighbours is one plane along each axis, kept
from them. Equal to the usual way except at ties of rounding; the lowest class wins where scores are equal.

Interpolation is linear (order 1), or nearest (order 0) along a separate axis, as nnU-Net v1 and v2 export.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab.errors import OmlabError, OmlabWarning
from omlab_kernels import window_argmax
from omlab_payloads.sureness import Sureness
from omlab_volume.inference.resample import LinearSteps, linear_steps
from omlab_volume.inference.sliding_window import Cell, Combine, Network, SlidingWindow, not_finite
from omlab_volume.inference.windows import Tiling


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
        self.steps = _steps(self.size, self.shape, separate)
        self.labels = np.zeros(self.shape, label_type(classes))
        self._linear = [bool((steps.lower != steps.upper).any()) for steps in self.steps]
        self._faces: list[dict[tuple[int, ...], Tensor]] = [{}, {}, {}]
        self._block: Tensor | None = None

    def add(self, cell: Cell) -> None:
        """Decide the voxels whose scores are complete with `cell`; its lower neighbours came before.

        Raises:
            OmlabError: scores are not finite.
        """
        with torch.inference_mode():
            block, begin = self._with_neighbours(cell)
            goal, steps = [], []
            for axis, inside in enumerate((cell.z, cell.y, cell.x)):
                # The outputs that are complete with this cell: their upper input lies there.
                first, last = np.searchsorted(self.steps[axis].upper, [inside.start, inside.stop])
                goal.append(slice(int(first), int(last)))
                steps.append(self.steps[axis].part(goal[-1], origin=begin[axis]))
            self.labels[tuple(goal)] = _decided(block, steps)

    def _with_neighbours(self, cell: Cell) -> tuple[Tensor, list[int]]:
        """The blended scores with the last plane of the lower neighbours where outputs mix them; where that begins."""
        inside = (cell.z, cell.y, cell.x)
        begin = [part.start for part in inside]
        if not any(self._linear):
            # A positive weight leaves the argmax of a voxel as it is: it matters only where voxels are mixed.
            return cell.scores, begin
        earlier: list[Tensor | None] = []
        for axis, faces in enumerate(self._faces):
            here = tuple(part.start for other, part in enumerate(inside) if other != axis)
            earlier.append(faces.pop(here, None) if self._linear[axis] else None)
        margins = [int(before is not None) for before in earlier]
        block = self._room(cell.scores, [margin + n for margin, n in zip(margins, cell.scores.shape[1:], strict=True)])
        own = block[:, margins[0] :, margins[1] :, margins[2] :]
        if cell.weight is None:
            own.copy_(cell.scores)
        else:
            torch.div(cell.scores, cell.weight, out=own)
        for axis, (before, part) in enumerate(zip(earlier, inside, strict=True)):
            if not self._linear[axis]:
                continue
            # With the neighbours along the earlier axes, so that the face has the corners too.
            so_far = block
            for later in range(axis + 1, 3):
                so_far = so_far.narrow(later + 1, margins[later], so_far.shape[later + 1] - margins[later])
            if before is not None:
                so_far.narrow(axis + 1, 0, 1).copy_(before)
                begin[axis] -= 1
            if part.stop < self.size[axis]:
                here = tuple(one.start for other, one in enumerate(inside) if other != axis)
                self._faces[axis][here] = so_far.narrow(axis + 1, so_far.shape[axis + 1] - 1, 1).clone()
        return block, begin

    def _room(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Memory for a block (K, ...) of `shape`, the same for all cells."""
        size = len(like) * math.prod(shape)
        kind = torch.float64 if like.dtype == torch.float64 else torch.float32
        if self._block is None or self._block.numel() < size:
            self._block = torch.empty(size, dtype=kind, device=like.device)
        return self._block[:size].view(len(like), *shape)


def _steps(size: Sequence[int], shape: Sequence[int], separate: int | None) -> list[LinearSteps]:
    """How each axis of `shape` is made of `size`; along `separate` the nearest voxel is taken."""
    return [
        linear_steps(have, want, order=0 if axis == separate or have == want else 1)
        for axis, (have, want) in enumerate(zip(size, shape, strict=True))
    ]


def _decided(scores: Tensor, steps: Sequence[LinearSteps]) -> NDArray[Any]:
    """Labels of `scores` (K, d, h, w) after `steps` along its axes."""
    along = [
        (torch.from_numpy(step.lower), torch.from_numpy(step.upper), torch.from_numpy(step.weight)) for step in steps
    ]
    labels, finite = window_argmax(scores, along)
    if not finite:
        raise not_finite()
    decided: NDArray[Any] = labels.cpu().numpy().astype(label_type(len(scores)), copy=False)
    return decided


def labels_from_scores(scores: Tensor, shape: Sequence[int], *, separate: int | None = None) -> NDArray[Any]:
    """The argmax over classes of `scores` (K, D, H, W) resampled to `shape`, without the resampled scores.

    Returns:
        uint8 (uint16 above 256 classes) of `shape`.
    """
    return _decided(scores, _steps(scores.shape[1:], shape, separate))


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
    sum_type: torch.dtype | None = None,
    sureness: Sureness | None = None,
    tiling: Tiling | None = None,
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
        sum_type: of the sums, torch.float32 or torch.float16; by default the latter where they would be large.
        sureness: takes in the scores of all cells, where it is wanted.
        tiling: windows and weights in place of nnU-Net's.

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
        sum_type=sum_type,
        tiling=tiling,
    )
    wanted = tuple(image.shape[1:]) if shape is None else tuple(shape)
    try:
        return _run(how, network, image, wanted, separate, sureness)
    except torch.OutOfMemoryError:
        warnings.warn(
            "The GPU's memory did not suffice; the scores are summed on the CPU.", MemoryWarning, stacklevel=2
        )
    torch.cuda.empty_cache()
    try:
        return _run(replace(how, accumulate_device="cpu", batch_size=1), network, image, wanted, separate, sureness)
    except torch.OutOfMemoryError:
        raise OmlabError(
            f"The GPU's memory does not suffice for one window of {how.patch_size} voxels; use a smaller model or "
            "the CPU (device 'cpu')."
        ) from None


def _run(
    how: SlidingWindow,
    network: Network,
    image: Tensor,
    shape: tuple[int, ...],
    separate: int | None,
    sureness: Sureness | None,
) -> NDArray[Any]:
    export = None
    if sureness is not None:
        sureness.clear()
    for cell in how.cells(network, image):
        if sureness is not None:
            with torch.inference_mode():
                # before the export, which may change the cell's scores
                sureness.add_scores(cell.scores, weight=cell.weight)
        export = export or LabelExport(image.shape[1:], shape, classes=how.classes, separate=separate)
        export.add(cell)
        del cell  # else it lives on while the next window is predicted
    assert export is not None
    return export.labels
