"""Three planes of a volume, with what was found in it drawn over them.

Radiological convention: the patient's right is on the picture's left; anterior (axial) and superior (coronal, sagittal)
are at the top; in the sagittal plane anterior is on the left. Oblique grids are shown along their nearest axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from omlab_payloads.pictures.classes import Spot, by_area, outlined, painted, spots
from omlab_volume.geometry import Grid
from omlab_volume.labels import Labelled, complete_labels
from omlab_volume.orientation import canonical_array, canonical_grid

_HU_WINDOW = (-160.0, 240.0)  # soft tissue
_PERCENTILES = (0.5, 99.8)
_LOOKED_AT = 1_000_000  # voxels that tell the percentiles well enough


class Imaged(Protocol):
    """Intensities on a grid: what a `Volume` is to those who only look at it."""

    @property
    def array(self) -> NDArray[Any]:
        """(C, I, J, K)."""
        ...

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        ...

    @property
    def intensity(self) -> str:
        """What they mean, such as `hu`."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """One plane: its RGB `picture` (H, W, 3), and where it lies along the closest RAS+ axes of the image.

    `across`, `down` and `normal` are axes (0: right, 1: anterior, 2: superior); the picture's columns run against
    `across` and its rows against `down`. `size` and `spacing` (mm) are the image's along these three axes, `index`
    is the voxel that the plane goes through and `labels` are the label values in it, by area. `spots` are the places
    of these in the picture in the same order, `target_spots` those of the reference's classes.
    """

    picture: NDArray[np.uint8]
    across: int
    down: int
    normal: int
    index: tuple[int, int, int]
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    labels: tuple[int, ...] = ()
    spots: tuple[Spot, ...] = ()
    target_spots: tuple[Spot, ...] = ()

    def place(self, voxel: Sequence[float]) -> tuple[float, float]:
        """Where a voxel (along the RAS+ axes) lies in the picture: x from the left and y from the top, in pixels."""
        rows, columns = self.picture.shape[:2]
        x = (self.size[self.across] - 0.5 - voxel[self.across]) * columns / self.size[self.across]
        y = (self.size[self.down] - 0.5 - voxel[self.down]) * rows / self.size[self.down]
        return float(x), float(y)


def planes(
    volume: Imaged,
    labelmap: Labelled | None = None,
    *,
    target: Labelled | None = None,
    at: tuple[int, int, int],
    window: tuple[float, float] | None = None,
    height: int = 320,
) -> list[Panel]:
    """The axial, coronal and sagittal plane through one voxel: the first channel, and the label maps over it.

    One pixel is as wide as it is high, in mm. Classes of `labelmap` are filled with their colours, those of `target`
    outlined.

    Args:
        volume: The image.
        labelmap: On its grid.
        target: The reference, on its grid.
        at: The voxel that they go through, along the closest RAS+ axes.
        window: Intensities of black and white; by default soft tissue for `hu`, else the percentiles 0.5 and 99.8.
        height: Of the highest panel, in pixels.
    """
    grid = canonical_grid(volume.grid)
    image = canonical_array(volume.array[0], volume.grid)
    found, reference = (
        None if labelled is None else canonical_array(labelled.array, volume.grid) for labelled in (labelmap, target)
    )
    black, white = window if window is not None else _window(volume, image)
    labels = [] if labelmap is None else complete_labels(labelmap)
    colours = {label.value: label.colour for label in labels if label.colour is not None}
    extents = np.array(image.shape) * grid.spacing
    pixel = max(extents[1], extents[2]) / height
    panels = []
    for across, down, normal in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        size = tuple(max(1, round(float(extents[axis] / pixel))) for axis in (down, across))
        shares = _shares(image.take(at[normal], axis=normal), black=black, white=white)
        picture = _grey(_sampled(shares, size=size, smooth=True))
        shown: tuple[int, ...] = ()
        result_spots: tuple[Spot, ...] = ()
        target_spots: tuple[Spot, ...] = ()
        if found is not None:
            plane = found.take(at[normal], axis=normal)
            drawn = _sampled(plane, size=size, smooth=False)
            picture = painted(picture, drawn, colours=colours)
            shown, result_spots = by_area(plane), spots(drawn)
        if reference is not None:
            drawn = _sampled(reference.take(at[normal], axis=normal), size=size, smooth=False)
            picture = outlined(picture, drawn)
            target_spots = spots(drawn)
        panels.append(
            Panel(
                picture=picture,
                across=across,
                down=down,
                normal=normal,
                index=at,
                size=grid.shape,
                spacing=grid.spacing,
                labels=shown,
                spots=result_spots,
                target_spots=target_spots,
            )
        )
    return panels


def _window(volume: Imaged, image: NDArray[Any]) -> tuple[float, float]:
    if volume.intensity == "hu":
        return _HU_WINDOW
    step = max(1, round((image.size / _LOOKED_AT) ** (1 / 3)))
    values = image[::step, ::step, ::step]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, _PERCENTILES)
    return float(low), float(high)


def _sampled(plane: NDArray[Any], *, size: tuple[int, ...], smooth: bool) -> NDArray[Any]:
    """A plane (across, down) as picture rows from the top and columns from the left, both axes reversed, at `size`."""
    picture = plane.T[::-1, ::-1]
    for axis, count in enumerate(size):
        length = picture.shape[axis]
        where = np.clip((np.arange(count) + 0.5) * length / count - 0.5, 0, length - 1)
        if not smooth:
            picture = picture.take(np.rint(where).astype(int), axis=axis)
            continue
        lower = np.floor(where).astype(int)
        share = (where - lower).reshape((-1, 1) if axis == 0 else (1, -1))
        first = picture.take(lower, axis=axis).astype(np.float64)
        picture = first + share * (picture.take(np.minimum(lower + 1, length - 1), axis=axis) - first)
    return picture


def _shares(plane: NDArray[Any], *, black: float, white: float) -> NDArray[np.float64]:
    """How bright each voxel is, within 0 and 1; NaN is black."""
    finite = np.clip(np.nan_to_num(plane.astype(np.float64), nan=black, posinf=white, neginf=black), black, white)
    return np.asarray((finite - black) / max(white - black, 1e-12))


def _grey(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = (shares * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
