"""CT as MedLAM sees it: along LAS, at 3 mm, its HU brought to [0, 1].

Source: Lei et al. 2023, arXiv 2306.14752, section IV-A: cubic splines for images, linear votes for labels, as SciPy's
`zoom` places the voxels: the first and the last of an axis stay where they are.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from omlab.errors import InputError, OmlabWarning
from omlab_medlsam.space import SPACING, WorkingSpace, along_las
from omlab_volume.geometry import Grid
from omlab_volume.labels import present_values
from omlab_volume.orientation import canonical_grid
from omlab_volume.volume import LabelMap, Volume

Image = NDArray[np.float32]
Labels = NDArray[np.integer]

HU = (-1000.0, -200.0, 200.0, 1500.0)
LEVELS = (0.0, 0.2, 0.8, 1.0)
"""What `HU` become; linear between them, constant outside."""
_AIR = -10.0
"""A volume without a value below this many HU is taken to be in [0, 1] already."""


@dataclass(frozen=True, eq=False, kw_only=True)
class WorkingCopy:
    """A volume as the network sees it: `image` (Z, Y, X) of [0, 1], and the way back."""

    image: Image
    space: WorkingSpace


def normalised(image: NDArray[np.floating]) -> Image:
    """HU brought to [0, 1]; what has no value below -10 is taken as brought there already."""
    if image.min() >= _AIR:
        return np.asarray(image, np.float32)
    return np.asarray(np.interp(image, HU, LEVELS), np.float32)


def working_copy(volume: Volume) -> WorkingCopy:
    """A CT volume of one channel as the network sees it.

    Warns with `OmlabWarning` where its values look like neither HU nor [0, 1]. Raises `InputError` for several
    channels, another modality, or values that are not finite.
    """
    name = volume.name or "The volume"
    if volume.channels != 1:
        raise InputError(f"{name} has {volume.channels} channels, but MedLAM takes one.")
    if volume.intensity in ("mr", "suv"):
        found = {"mr": "MR", "suv": "PET"}[volume.intensity]
        raise InputError(f"{name} is {found}, but MedLAM was trained on CT: train it on {found} first (omlab adapt).")
    space = space_of(volume.grid)
    source = np.asarray(along_las(volume.array[0], volume.grid), np.float32)
    if not np.isfinite(source).all():
        raise InputError(f"{name} has values that are NaN or infinite.")
    low, high = float(source.min()), float(source.max())
    if low >= _AIR and high > 2:
        warnings.warn(
            f"{name} has values from {low:g} to {high:g}, none below {_AIR:g}: they are no HU, and are taken to lie in "
            "[0, 1] already, so that places found in it mean little.",
            OmlabWarning,
            stacklevel=2,
        )
    return WorkingCopy(image=normalised(_interpolated(source, working_shape(volume.grid))), space=space)


def working_labels(labelmap: LabelMap) -> Labels:
    """Labels (Z, Y, X) at the voxels of the working copy: the class that most of the eight around have, by weight.

    A structure that none is left of keeps the voxel at its middle.
    """
    labels = along_las(labelmap.array, labelmap.grid)
    axes = [_neighbours(n, m) for n, m in zip(labels.shape, working_shape(labelmap.grid), strict=True)]
    shape = tuple(len(share) for _, share in axes)
    corners, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        at = [np.minimum(low + step, n - 1) for (low, _), step, n in zip(axes, corner, labels.shape, strict=True)]
        parts = [share if step else 1 - share for (_, share), step in zip(axes, corner, strict=True)]
        corners.append(labels[np.ix_(*at)])
        weights.append(np.einsum("i,j,k->ijk", *parts))
    best, most = np.zeros(shape, labels.dtype), np.zeros(shape)
    for value in np.unique(np.stack(corners)):  # the least value wins a tie
        votes = sum(weight * (corner == value) for corner, weight in zip(corners, weights, strict=True))
        wins = votes > most
        best[wins], most[wins] = value, votes[wins]
    for value in sorted(present_values(labelmap.array) - present_values(best)):
        middle = (
            np.argwhere(labels == value).mean(0) * (np.array(shape) - 1) / np.maximum(np.array(labels.shape) - 1, 1)
        )
        best[tuple(np.round(middle).astype(int))] = value
    return best


def space_of(grid: Grid) -> WorkingSpace:
    """The working space of a file on `grid`."""
    z, y, x = (spacing / SPACING for spacing in canonical_grid(grid).spacing[::-1])
    return WorkingSpace(grid=grid, zoom=(z, y, x))


def working_shape(grid: Grid) -> tuple[int, int, int]:
    """Voxels (Z, Y, X) of the working copy of a file on `grid`."""
    z, y, x = (
        max(1, round(n * zoom)) for n, zoom in zip(canonical_grid(grid).shape[::-1], space_of(grid).zoom, strict=True)
    )
    return (z, y, x)


def _interpolated(image: Image, shape: tuple[int, int, int]) -> Image:
    """Cubic splines axis by axis, the one that loses most voxels first: each is a product with a small matrix."""
    order = np.argsort([wanted / own for wanted, own in zip(shape, image.shape, strict=True)])
    for axis in map(int, order):
        if shape[axis] != image.shape[axis]:
            weights = _spline(image.shape[axis], shape[axis])
            image = np.moveaxis(np.tensordot(weights, image, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(image)


def _spline(own: int, wanted: int) -> Image:
    """The matrix (wanted, own) of interpolation along an axis: what splines through each unit vector give."""
    zoom = (wanted / own, 1)
    return np.asarray(ndimage.zoom(np.eye(own), zoom, order=3, mode="mirror"), np.float32)


def _neighbours(own: int, wanted: int) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """For each working voxel of an axis the file's voxel before it, and how far it lies towards the next one."""
    places = np.arange(wanted) * ((own - 1) / (wanted - 1) if wanted > 1 else 1.0)
    low = np.minimum(np.floor(places).astype(int), max(own - 2, 0))
    return low, np.clip(places - low, 0, 1)
