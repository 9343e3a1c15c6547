"""A picture of a volume with its label map drawn over: three planes side by side.

Radiological convention: the patient's right is on the picture's left; anterior (axial) and superior (coronal, sagittal)
are at the top; in the sagittal plane anterior is on the left. Oblique grids are shown along their nearest axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError
from omlab_volume.labels import complete_labels
from omlab_volume.volume import LabelMap, Volume

_HU_WINDOW = (-160.0, 240.0)  # soft tissue
_OPACITY = 0.3
_GAP = 4  # black pixels between planes
_io_orientation: Any = nib.orientations.io_orientation  # nibabel's functions are not typed
_apply_orientation: Any = nib.orientations.apply_orientation


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

    `at` is the point in world mm (RAS+); without it the middle of the labelled voxels, or of the volume. `window` are
    the intensities of black and white; without it soft tissue for `hu`, else the 1st and 99th percentile. One pixel is
    as wide as it is high, in mm. Raises `GeometryError` where the label map lies on another grid.
    """
    if labelmap is not None and not volume.same_grid(labelmap):
        raise GeometryError(
            f"The label map's grid {labelmap.grid.shape} is not the volume's {volume.grid.shape}, or lies elsewhere."
        )
    orientation = _io_orientation(volume.affine)
    image: NDArray[Any] = _apply_orientation(volume.array[channel], orientation)
    classes: NDArray[Any] | None = None if labelmap is None else _apply_orientation(labelmap.array, orientation)
    spacing = np.array([volume.grid.spacing[int(np.flatnonzero(orientation[:, 0] == axis)[0])] for axis in range(3)])
    point = _point(volume, image=image, classes=classes, at=at, orientation=orientation)
    black, white = window if window is not None else _window(volume, image)
    colours = _colour_table(labelmap) if labelmap is not None else None
    extents = np.array(image.shape) * spacing
    pixel = max(extents[1], extents[2]) / height
    panels = []
    for across, down, normal in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        size = tuple(max(1, round(float(extents[axis] / pixel))) for axis in (down, across))
        plane = _sampled(image.take(point[normal], axis=normal), size=size, smooth=True)
        panel = _grey(plane, black=black, white=white)
        if classes is not None and colours is not None:
            labels = _sampled(classes.take(point[normal], axis=normal), size=size, smooth=False)
            panel = _painted(panel, labels, colours=colours)
        panels.append(panel)
    return _side_by_side(panels)


def _point(
    volume: Volume,
    *,
    image: NDArray[Any],
    classes: NDArray[Any] | None,
    at: Sequence[float] | None,
    orientation: NDArray[np.float64],
) -> tuple[int, ...]:
    """The voxel, in the turned array, that the planes go through."""
    shape = np.array(image.shape)
    if at is not None:
        voxel = np.linalg.solve(volume.affine, np.array([*at, 1.0]))[:3]
        size = np.array(volume.grid.shape)
        turned = np.empty(3)
        for axis, (target, direction) in enumerate(orientation):
            turned[int(target)] = voxel[axis] if direction > 0 else size[axis] - 1 - voxel[axis]
    elif classes is not None and classes.any():
        occupied = np.nonzero(classes)
        turned = np.array([(where.min() + where.max()) / 2 for where in occupied])
    else:
        turned = (shape - 1) / 2
    return tuple(int(n) for n in np.clip(np.rint(turned), 0, shape - 1))


def _window(volume: Volume, image: NDArray[Any]) -> tuple[float, float]:
    if volume.intensity == "hu":
        return _HU_WINDOW
    step = max(1, image.size // 1_000_000)  # a million voxels tell the percentiles well enough
    values = image.reshape(-1)[::step]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (1, 99))
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


def _grey(plane: NDArray[Any], *, black: float, white: float) -> NDArray[np.uint8]:
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
