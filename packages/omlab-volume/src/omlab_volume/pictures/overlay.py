"""A picture of a volume with its label map drawn over: three planes side by side.

Radiological convention: the patient's right is on the picture's left; anterior (axial) and superior (coronal, sagittal)
are at the top; in the sagittal plane anterior is on the left. Oblique grids are shown along their nearest axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError
from omlab_volume.labels import complete_labels
from omlab_volume.orientation import canonical_array, canonical_grid
from omlab_volume.volume import Grid, LabelMap, Volume

_HU_WINDOW = (-160.0, 240.0)  # soft tissue
_PERCENTILES = (0.5, 99.8)
_OPACITY = 0.3
_GAP = 4  # black pixels between planes


def overlay(
    volume: Volume,
    labelmap: LabelMap | None = None,
    *,
    at: Sequence[float] | None = None,
    window: tuple[float, float] | None = None,
    height: int = 320,
    channel: int = 0,
) -> NDArray[np.uint8]:
    """The axial, coronal and sagittal plane through one point as an RGB picture (H, W, 3), H = `height` at most.

    The arguments and what is raised are those of `planes`.
    """
    found = planes(volume, labelmap, at=at, window=window, height=height, channel=channel)
    return _side_by_side([panel.picture for panel in found])


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """One plane: its RGB `picture` (H, W, 3), and where it lies along the closest RAS+ axes of the image.

    `across`, `down` and `normal` are axes (0: right, 1: anterior, 2: superior); the picture's columns run against
    `across` and its rows against `down`. `size` and `spacing` (mm) are the image's along these three axes, `index`
    is the voxel that the plane goes through and `labels` are the label values in it, by area.
    """

    picture: NDArray[np.uint8]
    across: int
    down: int
    normal: int
    index: tuple[int, int, int]
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    labels: tuple[int, ...] = ()

    def place(self, voxel: Sequence[float]) -> tuple[float, float]:
        """Where a voxel (along the RAS+ axes) lies in the picture: x from the left and y from the top, in pixels."""
        rows, columns = self.picture.shape[:2]
        x = (self.size[self.across] - 0.5 - voxel[self.across]) * columns / self.size[self.across]
        y = (self.size[self.down] - 0.5 - voxel[self.down]) * rows / self.size[self.down]
        return float(x), float(y)


def planes(
    volume: Volume,
    labelmap: LabelMap | None = None,
    *,
    at: Sequence[float] | None = None,
    window: tuple[float, float] | None = None,
    height: int = 320,
    channel: int = 0,
) -> list[Panel]:
    """The axial, coronal and sagittal plane through one point, the label map drawn over each.

    One pixel is as wide as it is high, in mm.

    Args:
        volume: The image.
        labelmap: On its grid.
        at: The point in world mm (RAS+); by default the labelled voxel closest to the middle of all labelled ones, or
            the middle of the volume where nothing is labelled.
        window: Intensities of black and white; by default soft tissue for `hu`, else the
            percentiles 0.5 and 99.8.
        height: Of the highest panel, in pixels.
        channel: Which one of the volume is shown.

    Raises:
        GeometryError: The label map lies on another grid.
    """
    if labelmap is not None and not volume.same_grid(labelmap):
        raise GeometryError(
            f"The label map's grid {labelmap.grid.shape} is not the volume's {volume.grid.shape}, or lies elsewhere."
        )
    grid = canonical_grid(volume.grid)
    image = canonical_array(volume.array[channel], volume.grid)
    classes = None if labelmap is None else canonical_array(labelmap.array, volume.grid)
    spacing = np.array(grid.spacing)
    point = _point(grid, classes=classes, at=at)
    black, white = window if window is not None else _window(volume, image)
    colours = _colour_table(labelmap) if labelmap is not None else None
    extents = np.array(image.shape) * spacing
    pixel = max(extents[1], extents[2]) / height
    panels = []
    for across, down, normal in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        size = tuple(max(1, round(float(extents[axis] / pixel))) for axis in (down, across))
        picture = _grey(_sampled(image.take(point[normal], axis=normal), size=size, smooth=True), black, white)
        labels: tuple[int, ...] = ()
        if classes is not None and colours is not None:
            plane = classes.take(point[normal], axis=normal)
            picture = _painted(picture, _sampled(plane, size=size, smooth=False), colours=colours)
            labels = _by_area(plane)
        panels.append(
            Panel(
                picture=picture,
                across=across,
                down=down,
                normal=normal,
                index=point,
                size=grid.shape,
                spacing=grid.spacing,
                labels=labels,
            )
        )
    return panels


def _point(grid: Grid, *, classes: NDArray[Any] | None, at: Sequence[float] | None) -> tuple[int, int, int]:
    """The voxel, along the RAS+ axes, that the planes go through."""
    size = np.array(grid.shape)
    middle = (size - 1) / 2
    if at is not None:
        middle = np.linalg.solve(grid.affine, np.array([*at, 1.0]))[:3]
    elif classes is not None and classes.any():
        occupied = np.stack(np.nonzero(classes), axis=1)
        gap = (occupied - (occupied.min(axis=0) + occupied.max(axis=0)) / 2) * grid.spacing
        middle = occupied[np.argmin((gap**2).sum(axis=1))].astype(np.float64)
    i, j, k = (int(n) for n in np.clip(np.rint(middle), 0, size - 1))
    return i, j, k


def _by_area(plane: NDArray[Any]) -> tuple[int, ...]:
    values, counts = np.unique(plane, return_counts=True)
    return tuple(int(values[n]) for n in np.argsort(-counts, kind="stable") if values[n])


def _window(volume: Volume, image: NDArray[Any]) -> tuple[float, float]:
    if volume.intensity == "hu":
        return _HU_WINDOW
    step = max(1, image.size // 1_000_000)  # a million voxels tell the percentiles well enough
    values = image.reshape(-1)[::step]
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


def _grey(plane: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    scaled = (np.nan_to_num(plane, nan=black) - black) / max(white - black, 1e-12)
    grey: NDArray[np.uint8] = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _colour_table(labelmap: LabelMap) -> NDArray[np.uint8]:
    labels = complete_labels(labelmap)
    table = np.zeros((max([int(labelmap.array.max()), *(label.value for label in labels)]) + 1, 3), dtype=np.uint8)
    for label in labels:
        if label.colour is not None:
            table[label.value] = label.colour
    return table


def _painted(panel: NDArray[np.uint8], labels: NDArray[Any], *, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:-1] |= labels[:-1] != labels[1:]
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    share = np.where(labels > 0, np.where(edge, 1.0, _OPACITY), 0.0)[..., None]
    mixed: NDArray[np.uint8] = np.rint(panel * (1 - share) + colours[labels] * share).astype(np.uint8)
    return mixed


def _side_by_side(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height = max(panel.shape[0] for panel in panels)
    width = sum(panel.shape[1] for panel in panels) + _GAP * (len(panels) - 1)
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    left = 0
    for panel in panels:
        top = (height - panel.shape[0]) // 2
        picture[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
        left += panel.shape[1] + _GAP
    return picture
