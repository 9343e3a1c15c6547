"""From clicks in an image to a mask on its grid: crop, spacing, normalisation, rounds of clicks, windows.

The network sees cubes at 1.5 mm along the image's axes in their closest RAS+ order. A first cube has the first
click in its middle. Where the mask reaches a face of it and the image goes on, further cubes, moved by a quarter
of their side so that the click stays inside, continue it; their logits are blended with Gaussian weights (upstream
overwrites slabs, which leaves straight cuts). The mask is read off the blended logits at the image's own voxels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omlab import progress
from omlab.errors import InputError, OmlabWarning, UsageError
from omlab.prompts import Object, Prompts
from omlab_sammed3d.network import SamMed3d
from omlab_volume.orientation import canonical_array, canonical_grid, reorient_labels
from omlab_volume.sliding_window import gaussian_importance
from omlab_volume.volume import Grid, Label, LabelMap, Volume

SPACING = 1.5
"""mm: of all data that the published weights were trained with."""

_NOWHERE = -1e4
"""The logit where no window reaches: surely background, and finite, so that it can be interpolated."""

Array = NDArray[np.float64]


def z_normalise(image: Tensor) -> Tensor:
    """(v - mean) / std with mean and (n - 1) std of the voxels > 0, applied to every voxel, padding included.

    For CT in HU the scale is thus set by soft tissue and bone. Where fewer than two voxels are positive, or all
    are equal, those numbers do not exist: mean and std of all voxels, or a std of 1, take their place.
    """
    positive = image[image > 0]
    chosen = positive if positive.numel() > 1 else image.flatten()
    std = chosen.std()
    return (image - chosen.mean()) / (std if std > 0 else torch.ones_like(std))


@dataclass(frozen=True, kw_only=True)
class _Window:
    """A cube of the working grid: `first` is its voxel 0 in voxels of the image, `ratio` its voxel's size there."""

    first: Array
    ratio: Array
    side: int

    def places(self, axis: int) -> Array:
        """Where its voxels lie along an axis, in voxels of the image."""
        return np.asarray(self.first[axis] + np.arange(self.side) * self.ratio[axis], np.float64)


class Predictor:
    """Masks of objects that a user clicks on.

    Args:
        network: In eval mode, on the device that is to be used.
        spacing: Voxel size in mm to work at: 1.5 for all published weights.
    """

    def __init__(self, network: SamMed3d, *, spacing: float = SPACING) -> None:
        if spacing <= 0:
            raise ValueError(f"The spacing must be positive, not {spacing}.")
        self.network, self.spacing = network, spacing
        self.side = network.config.image_size

    def predict(self, volume: Volume, prompts: Prompts, *, image: str | None = None) -> LabelMap:
        """The objects of `prompts` as labels 1, 2, ... in their order, on the grid of `volume`.

        Where two objects claim a voxel, the surer one has it. The clicks of an object are given to the network
        one more in each round, with the logits of the round before.

        Args:
            volume: Of one channel, any orientation and spacing.
            prompts: Points, in world coordinates or in voxels of this image.
            image: Name of the image's file; by default the one it was read from.

        Raises:
            InputError: The volume has several channels or values that are not finite.
            GeometryError: A prompt lies outside the image or belongs to another one.
            UsageError: Prompts other than points, or an object whose first click is not in it.
        """
        array = self._checked(volume)
        prompts.require(("points",), model="SAM-Med3D")
        if image is None:
            read_from = volume.source.paths[0].name if volume.source and volume.source.paths else None
            image = read_from or prompts.image or "the image"
        world = prompts.in_voxels(volume.affine.tolist(), shape=volume.grid.shape, image=Path(image).name).in_world(
            volume.affine.tolist()
        )
        for entry in world.objects:
            if entry.points[0].label != 1:
                raise UsageError(f"The first click of '{entry.name}' must be in the object (label 1).")
        grid = canonical_grid(volume.grid)
        source = torch.from_numpy(np.ascontiguousarray(canonical_array(array, volume.grid), dtype=np.float32))
        best = np.zeros(grid.shape, np.float32)  # the logit of what is labelled; 0 is as sure as not
        labels = np.zeros(grid.shape, np.uint8 if len(world.objects) < 256 else np.uint16)
        with progress.task("objects", total=len(world.objects)) as advance, torch.inference_mode():
            for number, entry in enumerate(world.objects, start=1):
                box, logits = self._object(source, entry, grid=grid)
                better = logits > best[box]
                best[box][better] = logits[better]
                labels[box][better] = number
                advance(1)
        return LabelMap(
            array=reorient_labels(labels, volume.grid),
            affine=volume.affine,
            labels=tuple(Label(value=n, name=entry.name) for n, entry in enumerate(world.objects, start=1)),
            source=volume.source,
        )

    def _checked(self, volume: Volume) -> NDArray[np.float32]:
        if volume.channels != 1:
            raise InputError(f"SAM-Med3D takes volumes of one channel; this one has {volume.channels}.")
        array: NDArray[np.float32] = np.asarray(volume.array[0], np.float32)
        if not np.isfinite(array).all():
            raise InputError("The volume has values that are not finite (NaN or infinite): replace them first.")
        return array

    def _object(
        self, source: Tensor, entry: Object, *, grid: Grid
    ) -> tuple[tuple[slice, slice, slice], NDArray[np.float32]]:
        """The part of the image that the windows reach, and the logits in it."""
        to_voxels = np.linalg.inv(grid.affine)
        clicks = np.array([(to_voxels @ [*point.at, 1])[:3] for point in entry.points])
        kinds = np.array([point.label for point in entry.points])
        ratio = self.spacing / np.array(grid.spacing)
        shift = self.side // 4
        reach = self.side + 2 * shift
        middle = _Window(first=clicks[0] - self.side // 2 * ratio, ratio=ratio, side=self.side)
        canvas = _Window(first=middle.first - shift * ratio, ratio=ratio, side=reach)
        total, weight = torch.zeros(2, reach, reach, reach)
        importance = gaussian_importance((self.side,) * 3)
        used = np.zeros(len(kinds), bool)
        centre = self._window(source, middle, clicks=clicks, kinds=kinds, used=used)
        steps = _continued(centre > 0, middle, shape=grid.shape)
        for step in product(*steps):
            part = tuple(slice(shift * (1 + s), shift * (1 + s) + self.side) for s in step)
            window = _Window(first=middle.first + shift * np.array(step) * ratio, ratio=ratio, side=self.side)
            first = step == (0, 0, 0)
            logits = centre if first else self._window(source, window, clicks=clicks, kinds=kinds, used=used)
            total[part] += logits * importance
            weight[part] += importance
        if not used.all():
            warnings.warn(
                f"{int((~used).sum())} of {len(used)} clicks of '{entry.name}' are too far from its first one and were "
                f"not used: give what lies beyond {self.side * self.spacing / 2:.0f} mm as an object of its own.",
                OmlabWarning,
                stacklevel=3,
            )
        blended = torch.where(weight > 0, total / weight.clamp(min=1e-12), _NOWHERE)
        return _back(blended, canvas, shape=grid.shape)

    def _window(
        self, source: Tensor, window: _Window, *, clicks: Array, kinds: NDArray[np.int_], used: NDArray[np.bool_]
    ) -> Tensor:
        """Logits (S, S, S) of one cube after all rounds of the clicks that lie in it; marks those as used."""
        device = next(self.network.parameters()).device
        image = source
        for axis in range(3):
            image = _along(image, window.places(axis), axis=axis)
        embedding = self.network.image_encoder(z_normalise(image)[None, None].to(device))
        # the network knows whole voxels only
        places = np.rint((clicks - window.first) / window.ratio).astype(np.int64)
        inside = ((places >= 0) & (places < self.side)).all(axis=1)
        used |= inside
        points = torch.from_numpy(places[inside])[None].to(device)
        labels = torch.from_numpy(kinds[inside])[None].to(device)
        logits = None
        for count in range(1, points.shape[1] + 1):
            logits, _ = self.network.decode(
                embedding, points=points[:, :count], labels=labels[:, :count], previous=logits
            )
        assert logits is not None  # the first click lies in every window
        return self.network.upsample(logits)[0, 0].float().cpu()


def _continued(mask: Tensor, window: _Window, *, shape: tuple[int, ...]) -> list[list[int]]:
    """For each axis the steps to be taken: 0, and -1 or 1 where the mask reaches that face and the image goes on."""
    steps = []
    for axis, size in enumerate(shape):
        places = window.places(axis)
        found = [0]
        if places[0] > 0 and bool(mask.select(axis, 0).any()):
            found.append(-1)
        if places[-1] < size - 1 and bool(mask.select(axis, -1).any()):
            found.append(1)
        steps.append(found)
    return steps


def _along(array: Tensor, places: Array, *, axis: int, outside: float = 0) -> Tensor:
    """Linear interpolation along one axis; `outside` beyond the half voxel past the outermost centres."""
    size = array.shape[axis]
    at = np.clip(places, 0, size - 1)
    low = np.minimum(np.floor(at).astype(np.int64), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    shape = [-1 if n == axis else 1 for n in range(3)]
    fraction = torch.from_numpy((at - low).astype(np.float32)).reshape(shape)
    found = array.index_select(axis, torch.from_numpy(low)) * (1 - fraction)
    found = found + array.index_select(axis, torch.from_numpy(high)) * fraction
    beyond = torch.from_numpy((places < -0.5) | (places > size - 0.5)).reshape(shape)
    return found.masked_fill(beyond, outside)


def _back(
    canvas: Tensor, window: _Window, *, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice, slice], NDArray[np.float32]]:
    """The canvas at the voxels of the image that it reaches."""
    slices = []
    for axis, size in enumerate(shape):
        places = (np.arange(size) - window.first[axis]) / window.ratio[axis]
        reached = np.flatnonzero((places >= -0.5) & (places <= window.side - 0.5))
        slices.append(slice(int(reached[0]), int(reached[-1]) + 1))
        canvas = _along(canvas, places[slices[-1]], axis=axis, outside=_NOWHERE)
    return (slices[0], slices[1], slices[2]), canvas.numpy()
