"""From an anatomy to a scan: partial volume, texture, blur, noise, a grid of its own, any storage order.

Each voxel is looked at in `_PER_VOXEL` places: its HU is their mean, its label what most of them hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

from omlab_phantom.anatomy import Anatomy
from omlab_phantom.labels import LABELS
from omlab_phantom.shapes import Array, Mask, Part, Tube
from omlab_volume.volume import LabelMap, Volume

_AIR = -1000.0
_PER_VOXEL = (2, 2, 2)
_MARGIN = 14.0  # mm of air around the body
_ORDERS = (
    ((0, 1, 2), (1, 1, 1)),  # RAS
    ((0, 1, 2), (-1, -1, 1)),  # LPS, as most scanners store
    ((0, 1, 2), (-1, 1, 1)),  # LAS
    ((2, 0, 1), (-1, 1, -1)),  # a permuted one: I to the feet, J to the right, K to the back
)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A volume in HU (int16) with the label map that belongs to it, on one grid."""

    volume: Volume
    labelmap: LabelMap


def scan(anatomy: Anatomy, rng: np.random.Generator, *, scale: float) -> Scan:
    """Scan `anatomy` with random spacing, field of view, noise and storage order; `scale` multiplies the matrix."""
    in_plane, slices = float(rng.uniform(2.8, 3.4)) / scale, float(rng.uniform(4.0, 6.0)) / scale
    spacing = (in_plane, in_plane, slices)
    extent = (2 * (anatomy.half_width + _MARGIN), 2 * (anatomy.half_depth + _MARGIN), float(rng.uniform(205, 245)))
    shape = tuple(max(4, round(length / step)) for length, step in zip(extent, spacing, strict=True))
    shift = (rng.uniform(-4, 4), rng.uniform(-4, 4), rng.uniform(-12, 6))
    origin = [float(s) - (n - 1) * step / 2 for n, step, s in zip(shape, spacing, shift, strict=True)]
    hu, labels = _painted(anatomy, shape=shape, spacing=spacing, origin=origin)
    image = _acquired(hu, rng, in_plane=in_plane)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    affine[:3, 3] += rng.uniform(-150, 150, size=3)  # where the table stood
    order, signs = _ORDERS[int(rng.integers(len(_ORDERS)))]
    return Scan(
        volume=Volume(
            array=_stored(image, order, signs)[None], affine=_moved(affine, shape, order, signs), intensity="hu"
        ),
        labelmap=LabelMap(
            array=_stored(labels, order, signs), affine=_moved(affine, shape, order, signs), labels=LABELS
        ),
    )


def _painted(
    anatomy: Anatomy, *, shape: tuple[int, ...], spacing: tuple[float, ...], origin: list[float]
) -> tuple[Array, NDArray[np.uint8]]:
    """Mean HU and majority label of every voxel, in RAS order."""
    axes = [
        np.float32(o) + np.float32(step) * np.arange(n, dtype=np.float32)
        for o, step, n in zip(origin, spacing, shape, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    bent = [p + np.float32(anatomy.bend) * wave(x, y, z) for p, wave in zip((x, y, z), anatomy.warp, strict=True)]
    total = np.zeros(shape, dtype=np.float32)
    votes = np.zeros((len(LABELS) + 1, *shape), dtype=np.uint8)
    places = [(np.arange(n) + 0.5) / n - 0.5 for n in _PER_VOXEL]
    for i in places[0]:
        for j in places[1]:
            for k in places[2]:
                steps = [np.float32(p * step) for p, step in zip((i, j, k), spacing, strict=True)]
                hu, labels = _one_look(anatomy, [p + step for p, step in zip(bent, steps, strict=True)], axes)
                total += hu
                for value in range(len(votes)):
                    votes[value] += labels == value
    return total / np.float32(np.prod(_PER_VOXEL)), votes.argmax(axis=0).astype(np.uint8)


def _one_look(anatomy: Anatomy, points: list[Array], axes: list[Array]) -> tuple[Array, NDArray[np.uint8]]:
    """HU and label at one place in each voxel: the parts painted one over the other."""
    hu = np.full(points[0].shape, _AIR, dtype=np.float32)
    labels = np.zeros(points[0].shape, dtype=np.uint8)
    limits: dict[Tube, Mask] = {}
    for part in anatomy.parts:
        window = _window(part, axes, reach=2 * anatomy.bend + 8)
        if window is None:
            continue
        mask = part.inside(*(p[window] for p in points))
        if part.within is not None:
            if part.within not in limits:
                limits[part.within] = part.within.inside(*points)
            mask &= limits[part.within][window]
        hu[window][mask] = part.hu
        labels[window][mask] = part.label
    return hu, labels


def _window(part: Part, axes: list[Array], *, reach: float) -> tuple[slice, ...] | None:
    """The voxels in which the part can be, `reach` mm allowed for the bending."""
    slices = []
    for axis, low, high in zip(axes, *part.shape.box, strict=True):
        first, last = np.searchsorted(axis, [low - reach, high + reach])
        if first >= last:
            return None
        slices.append(slice(int(first), int(last)))
    return tuple(slices)


def _acquired(hu: Array, rng: np.random.Generator, *, in_plane: float) -> NDArray[np.int16]:
    """Texture of the tissues, blur of the detector, correlated noise; whole HU, as scanners store."""
    texture = gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), sigma=1.6)
    texture *= np.float32(rng.uniform(4, 8)) / texture.std()
    seen = np.where(hu > -300, hu + texture, hu)
    blur = float(rng.uniform(0.9, 1.6)) / in_plane
    seen = gaussian_filter(seen, sigma=(blur, blur, 0.0))
    noise = gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), sigma=(0.5, 0.5, 0.0))
    seen += noise * (np.float32(rng.uniform(8, 20)) / noise.std())
    stored: NDArray[np.int16] = np.rint(seen).clip(-1024, 3071).astype(np.int16)
    return stored


def _stored(array: NDArray[np.generic], order: tuple[int, ...], signs: tuple[int, ...]) -> NDArray[np.generic]:
    """A RAS array with its axes permuted, and flipped where the sign is negative."""
    return np.ascontiguousarray(array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)])


def _moved(
    affine: NDArray[np.float64], shape: tuple[int, ...], order: tuple[int, ...], signs: tuple[int, ...]
) -> NDArray[np.float64]:
    """The affine of the array that `_stored` gives."""
    moved = np.zeros((4, 4))
    moved[:, 3] = affine[:, 3]
    for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
        moved[:3, new] = affine[:3, old] * sign
        if sign < 0:
            moved[:3, 3] += affine[:3, old] * (shape[old] - 1)
    return moved
