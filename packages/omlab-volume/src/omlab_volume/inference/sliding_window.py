"""Sliding-window prediction: windows over an image, their scores blended with Gaussian weights.

The weighted sum is kept in cells, never for the whole volume: windows run along x, then y, then z, and a
cell (the voxels between neighbouring borders of windows) exists from the first window that touches it to the
last, when it is final. What is alive at a time is about half a window's depth of the image, whatever its length; in
half precision much of it rests as bytes (`omlab_volume.inference.resting`).

Source: nnU-Net v1 and v2 (fact sheet of STU-Net, 7).
"""

from __future__ import annotations

import ctypes
import itertools
import math
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from omlab import progress
from omlab.errors import InputError, OmlabError
from omlab_kernels import window_accumulate
from omlab_volume.inference.resting import WORTH, Resting, resting, small_from, woken
from omlab_volume.inference.windows import Lattice, Place, Tiling, gaussian_importance

Network = Callable[[Tensor], Tensor]
Combine = Literal["probabilities", "logits"]
Axes = tuple[int, ...]

_ROOMY = 1.1  # of a cell's size: memory up to so large is used for it
_GIVEN_BACK = 1 << 25  # bytes of a call's scores from which freed memory goes back to the system after it


class Cell(NamedTuple):
    """Final sums of part of the image: voxels `z` x `y` x `x`.

    `scores` (K, dz, dy, dx) is the weighted sum, `weight` (dz, dy, dx) the sum of the weights, or None where
    it is 1 everywhere. Its memory is used again for a later cell: what is kept of it beyond the next is a copy.
    """

    z: slice
    y: slice
    x: slice
    scores: Tensor
    weight: Tensor | None

    def mean(self) -> Tensor:
        """The blended scores (K, dz, dy, dx); divides in place."""
        return self.scores if self.weight is None else self.scores.div_(self.weight)


@dataclass(frozen=True, kw_only=True)
class SlidingWindow:
    """How a network is moved over an image.

    Attributes:
        patch_size: voxels of a window (z, y, x).
        classes: outputs K of the network.
        step: distance of neighbouring windows, as a part of the window.
        mirror: average over all flips (True), over the flips of some axes (0, 1, 2), or none (False).
        combine: blend softmax "probabilities" (nnU-Net v1) or "logits" (v2).
        batch_size: windows in one call of the network.
        device: where the network is.
        accumulate_device: where the sums are kept; None is `device`.
        sum_type: of the sums: torch.float32, or torch.float16, which takes half the memory; None: torch.float16 where
            probabilities are blended and 2 GiB or more would wait for the next row of windows, else torch.float32. What
            is added is computed in float32 and rounded once; a sum of n windows and flips is off by at most n / 2048 of
            itself, and of a large image, whose small sums rest as bytes, by 1 / 4096 of 1 more.
        autocast: run the network in float16 where it is on CUDA.
        tiling: windows and weights in place of nnU-Net's; `step` is not looked at then.
    """

    patch_size: tuple[int, int, int]
    classes: int
    step: float = 0.5
    mirror: bool | Sequence[int] = True
    combine: Combine = "probabilities"
    batch_size: int = 1
    device: torch.device | str = "cpu"
    accumulate_device: torch.device | str | None = None
    sum_type: torch.dtype | None = None
    autocast: bool = True
    tiling: Tiling | None = None

    def __post_init__(self) -> None:
        if len(self.patch_size) != 3 or min(self.patch_size) < 1:
            raise ValueError(f"patch_size must be three positive numbers, not {self.patch_size}")
        if self.classes < 1 or self.batch_size < 1:
            raise ValueError(f"classes {self.classes} and batch_size {self.batch_size} must be at least 1")
        if self.combine not in ("probabilities", "logits"):
            raise ValueError(f"combine must be 'probabilities' or 'logits', not {self.combine!r}")
        if self.sum_type not in (None, torch.float32, torch.float16):
            raise ValueError(f"sum_type must be torch.float32 or torch.float16, not {self.sum_type}")
        if not set(self._mirror_axes()) <= {0, 1, 2}:
            raise ValueError(f"mirror axes are 0, 1 and 2, not {self.mirror}")

    def _mirror_axes(self) -> Axes:
        if isinstance(self.mirror, bool):
            return (0, 1, 2) if self.mirror else ()
        return tuple(sorted(set(self.mirror)))

    def flips(self) -> list[Axes]:
        """The sets of axes to flip, the first of them empty."""
        axes = self._mirror_axes()
        return [chosen for count in range(len(axes) + 1) for chosen in itertools.combinations(axes, count)]

    def forward(self, network: Network, windows: Tensor, *, flip: Axes = ()) -> Tensor:
        """The scores (B, K, *patch) of windows (B, C, *patch) that `flip` turned, still turned.

        Halves the batch where CUDA's memory runs out. Raises `OmlabError` for scores of another shape.
        """
        turned = windows.flip([axis + 2 for axis in flip]) if flip else windows
        kind = torch.device(self.device).type
        scores: Tensor | None = None
        try:
            with torch.autocast(kind, torch.float16, enabled=kind == "cuda" and self.autocast):
                scores = network(turned)
        except torch.OutOfMemoryError:
            if len(windows) == 1:
                raise
        if scores is None:  # outside the handler, whose traceback would keep the failed run's tensors alive
            torch.cuda.empty_cache()
            half = len(windows) // 2
            return torch.cat([self.forward(network, part, flip=flip) for part in (windows[:half], windows[half:])])
        expected = (len(windows), self.classes, *self.patch_size)
        if tuple(scores.shape) != expected:
            raise OmlabError(f"The network gave scores of shape {tuple(scores.shape)} where {expected} was expected.")
        return scores

    def cells(self, network: Network, image: Tensor) -> Iterator[Cell]:
        """Run `network` over `image` (C, D, H, W) and yield its cells, each after its lower neighbours on every axis.

        Raises:
            InputError: `image` is not (C, D, H, W) or has no voxel.
            OmlabError: the network's output has another shape than expected, or memory does not suffice.
        """
        if image.ndim != 4 or 0 in image.shape:
            raise InputError(f"An image to predict is (C, D, H, W) with at least one voxel, not {tuple(image.shape)}.")
        return _Run(self, network, image).cells()


@lru_cache(maxsize=1)
def _trim() -> Callable[[int], int] | None:
    """Glibc's `malloc_trim`, where there is one."""
    return ctypes.CDLL(None).malloc_trim if platform.libc_ver()[0] == "glibc" else None


def _give_back() -> None:
    """Return freed memory to the system.

    glibc keeps what a window's activations and sums leave between blocks that live on, and little else fits there:
    measured at 105 classes, a tenth of the peak.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@dataclass(eq=False)
class _Run:
    """One pass of a sliding window over one image."""

    how: SlidingWindow
    network: Network
    image: Tensor
    sums: dict[Place, Tensor] = field(default_factory=dict)
    shares: dict[Place, Tensor] = field(default_factory=dict)
    spare: list[Tensor] = field(default_factory=list)  # memory of cells that are done
    asleep: dict[Place, Resting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        how = self.how
        self.device = torch.device(how.device)
        self.keep = torch.device(how.accumulate_device or how.device)
        self.lattice = Lattice(self.image.shape[1:], patch=how.patch_size, step=how.step, tiling=how.tiling)
        self.flips = how.flips()
        is_large = how.combine == "probabilities" and self._waiting(torch.float32) >= WORTH
        self.sum_type = how.sum_type or (torch.float16 if is_large else torch.float32)
        self.small: dict[int, int] = {}
        self.importance: Tensor | None = None
        if math.prod(map(len, self.lattice.starts)) > 1:
            own = how.tiling.importance(how.patch_size) if how.tiling is not None else None
            weights = gaussian_importance(how.patch_size, half=how.combine == "logits") if own is None else own
            self.importance = weights.to(self.keep)
            self.share = self.importance / len(self.flips)
            is_half = self.sum_type == torch.float16
            if is_half and how.combine == "probabilities" and self._waiting(self.sum_type) >= WORTH:
                middle = self.importance[:, how.patch_size[1] // 2, how.patch_size[2] // 2]
                self.small = small_from(middle.cpu(), self.lattice.starts[0])
                self.lattice.part(0, self.small.values())
        else:
            self.share = torch.tensor(1 / len(self.flips), device=self.keep).expand(how.patch_size)

    def cells(self) -> Iterator[Cell]:
        places = list(itertools.product(*(range(len(starts)) for starts in self.lattice.starts)))
        padding = self.lattice.padding
        padded = torch.nn.functional.pad(self.image, padding) if any(padding) else self.image
        with progress.bar("windows", total=len(places) * len(self.flips)) as advance:
            for first in range(0, len(places), self.how.batch_size):
                batch = places[first : first + self.how.batch_size]
                with torch.inference_mode():
                    windows = torch.stack([padded[self.lattice.window(place)] for place in batch]).to(self.device)
                    for flip in self.flips:
                        self._predict(batch, windows, flip)
                        advance(len(batch))
                for place in batch:
                    yield from self._final(place)
                    self._rest(place)

    def _waiting(self, sum_type: torch.dtype) -> int:
        """About the bytes of sums of that type that wait for the next row of windows."""
        starts, (_, height, width) = self.lattice.starts[0], self.lattice.size
        overlap = self.how.patch_size[0] - (starts[1] - starts[0]) if len(starts) > 1 else 0
        return self.how.classes * overlap * height * width * sum_type.itemsize

    def _rest(self, place: Place) -> None:
        """Let cells rest that wait for the next row of windows along z, where their sums are small."""
        for cell in self.waiting(place):
            found = resting(self.sums[cell])
            if found is not None:
                self.asleep[cell] = found
                del self.sums[cell]

    def waiting(self, place: Place) -> list[Place]:
        """The cells that wait, after the window at `place`, for one of the next row along z that weighs manifold."""
        small = self.small.get(place[0])
        if small is None:
            return []
        along = [cell for cell, _ in self.lattice.spans(0, place[0]) if self.lattice.edges[0][cell] >= small]
        return list(itertools.product(along, *(self.lattice.ending(axis, place[axis]) for axis in (1, 2))))

    def _predict(self, batch: list[Place], windows: Tensor, flip: Axes) -> None:
        """Scores of the windows, flipped by `flip`, added to the sums; no score outlives this call."""
        scores = self.how.forward(self.network, windows, flip=flip)
        for place, score in zip(batch, scores, strict=True):
            self._add(place, score, flip)
        large = scores.nbytes >= _GIVEN_BACK
        del scores, score
        if large and self.keep.type == "cpu":
            _give_back()

    def _new_sums(self, place: Place) -> Tensor:
        """Room for the sums of scores (K, dz, dy, dx) of a cell, whatever stands in it.

        Fresh memory costs as much as adding to it: that of a cell that is done is used again where it is little larger.
        """
        shape = self.lattice.extent(place)
        size = self.how.classes * math.prod(shape)
        fitting = [spare for spare in self.spare if size <= spare.numel() <= _ROOMY * size]
        if fitting:
            found = min(fitting, key=torch.Tensor.numel)
            self.spare = [spare for spare in self.spare if spare is not found]
        else:
            del self.spare[:1]  # no more cells' memory than cells are alive at a time
            found = torch.empty(size, dtype=self.sum_type, device=self.keep)
        return found[:size].view(self.how.classes, *shape)

    def _weight(self, place: Place) -> Tensor | None:
        """The sums of weights (dz, dy, dx) of a cell, or None where they are 1: one window, or parts of the whole."""
        return None if self.importance is None or self.sum_type == torch.float16 else self._weights(place)

    def _weights(self, place: Place) -> Tensor:
        assert self.importance is not None
        covering = [
            [
                (index, span)
                for index in range(len(self.lattice.starts[axis]))
                for at, span in self.lattice.spans(axis, index)
                if at == cell
            ]
            for axis, cell in enumerate(place)
        ]
        windows = [zip(*chosen, strict=True) for chosen in itertools.product(*covering)]
        first, *others = (self._times(index, self.importance[at]) for index, at in windows)
        return sum(others, start=first)

    def _share(self, place: Place) -> Tensor:
        """The weights of a window's voxels, for one flip.

        Half precision cannot hold the small ones at a window's corners: there they are parts of the whole weight of a
        voxel, so that the sums are the blended scores themselves.
        """
        share = self._times(place, self.share)
        if self.importance is None or self.sum_type != torch.float16:
            return share
        if place not in self.shares:
            whole = torch.empty_like(self.importance)
            for spans in itertools.product(*(self.lattice.spans(axis, index) for axis, index in enumerate(place))):
                cell, inside = zip(*spans, strict=True)
                whole[inside] = self._weights(cell)
            self.shares[place] = share / whole
        return self.shares[place]

    def _times(self, place: Place, weights: Tensor) -> Tensor:
        """`weights` of a window, as often as it comes."""
        if self.importance is None:
            return weights
        times = self.lattice.times(place)
        return weights if times == 1 else weights * times

    def _add(self, place: Place, scores: Tensor, flip: Axes) -> None:
        """Add one window's scores (K, d, h, w), still flipped, to the cells that it touches."""
        softmax = self.how.combine == "probabilities"
        share = self._share(place)
        for spans in itertools.product(*(self.lattice.spans(axis, index) for axis, index in enumerate(place))):
            cell, inside = zip(*spans, strict=True)
            start = [part.start for part in inside]
            if fresh := cell not in self.sums:
                self.sums[cell] = self._new_sums(cell)
                if cell in self.asleep:
                    woken(self.asleep.pop(cell), self.sums[cell])
                    fresh = False
            window_accumulate(self.sums[cell], scores, share, start=start, flip=flip, softmax=softmax, fresh=fresh)

    def _final(self, place: Place) -> Iterator[Cell]:
        """The cells whose last window was the one at `place`, without the padding."""
        self.shares.pop(place, None)
        for cell in itertools.product(*(self.lattice.ending(axis, index) for axis, index in enumerate(place))):
            (z, y, x), cut = self.lattice.unpadded(cell)
            weight = self._weight(cell)
            sums = self.sums.pop(cell)
            yield Cell(z, y, x, sums[(slice(None), *cut)], None if weight is None else weight[cut])
            self.spare.append(torch.as_strided(sums, (sums.untyped_storage().nbytes() // sums.itemsize,), (1,), 0))


def predict_scores(
    network: Network,
    image: Tensor,
    *,
    patch_size: Sequence[int],
    classes: int,
    step: float = 0.5,
    mirror: bool | Sequence[int] = True,
    combine: Combine = "probabilities",
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    accumulate_device: torch.device | str | None = None,
    sum_type: torch.dtype | None = None,
    tiling: Tiling | None = None,
) -> Tensor:
    """Blended scores (K, D, H, W), float32 on the CPU, of `image` (C, D, H, W).

    This holds all classes for all voxels; `omlab_volume.inference.export.predict_labels` decides labels without that.
    See `SlidingWindow` for the arguments.
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
    result = torch.empty((classes, *image.shape[1:]))
    for cell in how.cells(network, image):
        with torch.inference_mode():
            result[:, cell.z, cell.y, cell.x] = cell.mean()
    if not torch.isfinite(result).all():
        raise not_finite()
    return result


def not_finite() -> OmlabError:
    """The error of a network whose scores are not numbers."""
    return OmlabError(
        "The network's scores are not finite (NaN or infinite); check that the weights fit the network and the image."
    )
