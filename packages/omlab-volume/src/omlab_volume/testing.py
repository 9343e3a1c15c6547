"""Example volumes and label maps for the test kit (payload cards), and how they are moved (`omlab_testkit.motions`).

Everything is small and computed, the same each time. The n-th volume and the n-th label map show the
same thing on the same grid: an axis-aligned anisotropic one, one with permuted and flipped axes, an
oblique one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab_volume.big.payloads import BigLabelMap, BigVolume, big
from omlab_volume.geometry import unit_axes
from omlab_volume.registration import Transform
from omlab_volume.volume import Grid, Label, LabelMap, Volume

_MARGIN = 160.0
"""mm of air around moved content: further than a model sees from a click."""

LABELS = (
    Label(value=1, name="organ", colour=(200, 60, 40)),
    Label(value=2, name="bone", colour=(240, 230, 200)),
)


def example_grids() -> list[Grid]:
    """Three grids: anisotropic, permuted and flipped, oblique."""
    plain = np.diag([1.5, 1.5, 4.0, 1.0])
    plain[:3, 3] = [-20.0, 35.0, 110.0]
    flipped = np.array([[0, 0, 2.0, -15], [-1.1, 0, 0, 22], [0, -1.3, 0, 40], [0, 0, 0, 1]])
    turn, tilt = math.radians(20), math.radians(-12)
    about_z = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    oblique = np.eye(4)
    oblique[:3, :3] = about_z @ about_x @ np.diag([-0.9, 1.2, 2.5])
    oblique[:3, 3] = [7.0, -31.0, 2.5]
    return [Grid((22, 18, 10), plain), Grid((14, 19, 16), flipped), Grid((20, 21, 12), oblique)]


def example_volumes(*, channels: int = 1) -> list[Volume]:
    """CT-like volumes in HU: air around an ellipsoid of soft tissue with an organ and a bone inside."""
    return [
        Volume(array=np.stack([_intensity(grid) + 10 * c for c in range(channels)]), affine=grid.affine, intensity="hu")
        for grid in example_grids()
    ]


def example_labelmaps() -> list[LabelMap]:
    """The organ (1) and the bone (2) of `example_volumes`."""
    return [LabelMap(array=_classes(grid), affine=grid.affine, labels=LABELS) for grid in example_grids()]


def example_big_volumes() -> list[BigVolume]:
    """`example_volumes` as what is read by region."""
    return [big(volume) for volume in example_volumes()]


def example_big_labelmaps() -> list[BigLabelMap]:
    """`example_labelmaps` as what is read by region."""
    return [big(labelmap) for labelmap in example_labelmaps()]


def odd_big_volumes() -> dict[str, BigVolume]:
    """`odd_volumes` as what is read by region."""
    return {name: big(volume) for name, volume in odd_volumes().items()}


def odd_big_labelmaps() -> dict[str, BigLabelMap]:
    """`odd_labelmaps` as what is read by region."""
    return {name: big(labelmap) for name, labelmap in odd_labelmaps().items()}


def example_transforms() -> list[Transform]:
    """Smooth displacements of some mm on the grids of `example_volumes`."""
    transforms = []
    for grid in example_grids():
        i, j, k = _unit_coordinates(grid)
        field = np.stack([3 * np.sin(2 * j), 2 * np.cos(3 * k), 4 * i * j]).astype(np.float32)
        transforms.append(Transform(displacement=field, affine=grid.affine))
    return transforms


def odd_volumes() -> dict[str, Volume]:
    """Volumes that a model meets rarely: with NaN, constant, of one voxel, of one slice, of integers, huge values."""
    grid = example_grids()[0]
    image = _intensity(grid)[None]
    holed = image.copy()
    holed[0, ::3, 1, :] = np.nan
    arrays: dict[str, NDArray[Any]] = {
        "nan": holed,
        "all-nan": np.full_like(image, np.nan),
        "constant": np.zeros_like(image),
        "one-voxel": image[:, :1, :1, :1],
        "one-slice": image[:, :, :, :1],
        "integers": image.astype(np.int16),
        "huge-values": image * np.float32(1e30),
    }
    return {name: Volume(array=array, affine=grid.affine, intensity="hu") for name, array in arrays.items()}


def odd_labelmaps() -> dict[str, LabelMap]:
    """Label maps without a class, of one voxel, and with a value far beyond the others."""
    grid = example_grids()[0]
    classes = _classes(grid)
    far = classes.astype(np.uint16)
    far[0, 0, 0] = 60000
    arrays: dict[str, NDArray[Any]] = {
        "empty": np.zeros_like(classes),
        "one-voxel": classes[:1, :1, :1],
        "far-value": far,
    }
    return {name: LabelMap(array=array, affine=grid.affine) for name, array in arrays.items()}


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A volume with its labels, and the same one moved; as `omlab_testkit.examples.Motion` wants it.

    `voxels` takes voxels (i, j, k, 1) of `payload` to those of `moved`, `world` likewise mm (RAS+); `array` moves the
    array of a label map.
    """

    payload: Volume
    target: LabelMap
    moved: Volume
    exact: bool
    voxels: NDArray[np.float64]
    world: NDArray[np.float64]
    array: Callable[[NDArray[Any]], NDArray[Any]]

    def result(self, result: LabelMap) -> LabelMap:
        """A label map on `payload`, on `moved`."""
        return replace(result, array=self.array(result.array), affine=self.moved.affine)


class VolumeMotions:
    """How volumes are moved, for the test kit."""

    def boxes_agree(self, payload: Volume) -> bool:
        """Whether the voxels' axes are the world's, in any order and direction."""
        return bool((np.count_nonzero(np.abs(unit_axes(payload.affine)) > 1e-6, axis=0) == 1).all())

    def motions(self, payload: Volume, target: LabelMap) -> dict[str, Motion]:
        """Another origin, axes in another order and reversed, and content moved by whole voxels in a field of air."""
        return {
            "another origin": _elsewhere(payload, target),
            "axes stored in another order": _turned(payload, target),
            "moved content": _content_moved(payload, target),
        }


def _elsewhere(payload: Volume, target: LabelMap) -> Motion:
    shift = np.eye(4)
    shift[:3, 3] = (64.0, -32.0, 16.0)
    moved = replace(payload, affine=shift @ payload.affine)
    return Motion(
        payload=payload,
        target=target,
        moved=moved,
        exact=True,
        voxels=np.eye(4),
        world=shift,
        array=lambda array: array,
    )


def _turned(payload: Volume, target: LabelMap) -> Motion:
    """Axes (k, i, j), the first two of them backwards: other voxels, the same places."""

    def turned(array: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(array.transpose(2, 0, 1)[::-1, ::-1])

    i, _, k = payload.grid.shape
    voxels = np.array([[0, 0, -1.0, k - 1], [-1.0, 0, 0, i - 1], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    array = np.stack([turned(channel) for channel in payload.array])
    moved = replace(payload, array=array, affine=payload.affine @ np.linalg.inv(voxels))
    return Motion(
        payload=payload, target=target, moved=moved, exact=False, voxels=voxels, world=np.eye(4), array=turned
    )


def _content_moved(payload: Volume, target: LabelMap) -> Motion:
    """The same content at two places of a field that is `_MARGIN` wider on each side than the volume."""
    margin = np.ceil(_MARGIN / np.array(payload.grid.spacing)).astype(int)
    step = np.minimum(margin // 2, (4, -3, 2))

    def placed(array: NDArray[Any], air: float, offset: NDArray[np.int_]) -> NDArray[Any]:
        field = np.full(np.array(array.shape) + 2 * margin, air, array.dtype)
        first = margin + offset
        field[tuple(slice(a, a + n) for a, n in zip(first, array.shape, strict=True))] = array
        return field

    def volume(offset: NDArray[np.int_]) -> Volume:
        air = float(payload.array.min())
        return replace(payload, array=np.stack([placed(channel, air, offset) for channel in payload.array]))

    here = np.zeros(3, int)
    voxels, affine = np.eye(4), payload.affine
    voxels[:3, 3] = step
    return Motion(
        payload=volume(here),
        target=replace(target, array=placed(target.array, 0, here)),
        moved=volume(step),
        exact=False,
        voxels=voxels,
        world=affine @ voxels @ np.linalg.inv(affine),
        array=lambda array: np.roll(array, tuple(int(n) for n in step), axis=(0, 1, 2)),
    )


def _unit_coordinates(grid: Grid) -> tuple[NDArray[np.float64], ...]:
    """Coordinates of the voxel centres from -1 to 1 along i, j, k."""
    return tuple(np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij"))


def _classes(grid: Grid) -> NDArray[np.uint8]:
    i, j, k = _unit_coordinates(grid)
    classes = np.zeros(grid.shape, dtype=np.uint8)
    classes[(i + 0.3) ** 2 / 0.12 + j**2 / 0.2 + k**2 / 0.4 < 1] = 1
    classes[(i - 0.5) ** 2 / 0.03 + j**2 / 0.05 + k**2 / 0.9 < 1] = 2
    return classes


def _intensity(grid: Grid) -> NDArray[np.float32]:
    i, j, k = _unit_coordinates(grid)
    body = i**2 + j**2 + k**2 / 2 < 1.1
    values = np.where(body, 20.0, -1000.0) + np.array([0.0, 70.0, 500.0])[_classes(grid)]
    texture = 8 * np.sin(37 * i + 3) * np.cos(29 * j) + 5 * np.sin(53 * k + 11 * i)
    return np.asarray(values + texture, dtype=np.float32)
