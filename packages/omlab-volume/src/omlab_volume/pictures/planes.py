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
from scipy import ndimage  # type: ignore[import-untyped]

from omlab_volume.geometry import Grid
from omlab_volume.labels import Label, Labelled, complete_labels
from omlab_volume.orientation import canonical_array, canonical_grid

OUTLINE = (255, 255, 255)
"""Colour of the reference's outlines."""

_HU_WINDOW = (-160.0, 240.0)  # soft tissue
_PERCENTILES = (0.5, 99.8)
_LOOKED_AT = 1_000_000  # voxels that tell the percentiles well enough
_OPACITY = 0.3
_CASING = 0.35  # of the brightness beside the reference's outlines, so that they stand out on bone


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


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where a class is thickest in a plane, in pixels of its picture, and how far its edge is from there."""

    value: int
    x: float
    y: float
    depth: float


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
    found, outlined = (
        None if labelled is None else canonical_array(labelled.array, volume.grid) for labelled in (labelmap, target)
    )
    black, white = window if window is not None else _window(volume, image)
    colours = None if labelmap is None else _colour_table(complete_labels(labelmap))
    extents = np.array(image.shape) * grid.spacing
    pixel = max(extents[1], extents[2]) / height
    panels = []
    for across, down, normal in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        size = tuple(max(1, round(float(extents[axis] / pixel))) for axis in (down, across))
        shares = _shares(image.take(at[normal], axis=normal), black=black, white=white)
        picture = _grey(_sampled(shares, size=size, smooth=True))
        labels: tuple[int, ...] = ()
        spots: tuple[Spot, ...] = ()
        target_spots: tuple[Spot, ...] = ()
        if found is not None and colours is not None:
            plane = found.take(at[normal], axis=normal)
            drawn = _sampled(plane, size=size, smooth=False)
            picture = _painted(picture, drawn, colours=colours)
            labels, spots = _by_area(plane), _spots(drawn)
        if outlined is not None:
            drawn = _sampled(outlined.take(at[normal], axis=normal), size=size, smooth=False)
            picture = _outlined(picture, drawn)
            target_spots = _spots(drawn)
        panels.append(
            Panel(
                picture=picture,
                across=across,
                down=down,
                normal=normal,
                index=at,
                size=grid.shape,
                spacing=grid.spacing,
                labels=labels,
                spots=spots,
                target_spots=target_spots,
            )
        )
    return panels


def _by_area(plane: NDArray[Any]) -> tuple[int, ...]:
    values, counts = np.unique(plane, return_counts=True)
    return tuple(int(values[n]) for n in np.argsort(-counts, kind="stable") if values[n])


def _spots(drawn: NDArray[Any]) -> tuple[Spot, ...]:
    """The spot of every class in a picture of labels, the largest class first."""
    values = _by_area(drawn)
    if not values:
        return ()
    framed = np.pad(drawn, 1)
    depth = ndimage.distance_transform_edt(~_edges(framed))[1:-1, 1:-1]
    places = ndimage.maximum_position(depth, drawn, values)
    return tuple(
        Spot(value=value, x=float(x), y=float(y), depth=float(depth[y, x]))
        for value, (y, x) in zip(values, places, strict=True)
    )


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


def _colour_table(labels: Sequence[Label]) -> NDArray[np.uint8]:
    table = np.zeros((max([0, *(label.value for label in labels)]) + 1, 3), dtype=np.uint8)
    for label in labels:
        if label.colour is not None:
            table[label.value] = label.colour
    return table


def _painted(panel: NDArray[np.uint8], labels: NDArray[Any], *, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classes filled with their colours, their edges in full."""
    share = np.where(labels > 0, np.where(_edges(labels), 1.0, _OPACITY), 0.0)[..., None]
    mixed: NDArray[np.uint8] = np.rint(panel * (1 - share) + colours[labels] * share).astype(np.uint8)
    return mixed


def _outlined(panel: NDArray[np.uint8], labels: NDArray[Any]) -> NDArray[np.uint8]:
    """The outermost pixels of every class in white, those beside them darkened."""
    line = _edges(labels) & (labels > 0)
    casing = _edges(line) & ~line
    drawn = panel.copy()
    drawn[casing] = np.rint(drawn[casing] * _CASING)
    drawn[line] = OUTLINE
    return drawn


def _edges(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that have another value than one beside, above or below them."""
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:-1] |= labels[:-1] != labels[1:]
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return edge
