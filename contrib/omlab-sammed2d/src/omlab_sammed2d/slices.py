"""A volume as a stack of pictures along one axis, as a viewer shows them, and positions in them.

Arrays are turned to the closest RAS+ axes; slices are shown in the radiological way, the patient's right on the left:
rows run from anterior or superior, columns from right or anterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab_volume.orientation import canonical_array, canonical_grid, canonical_order, reorient_labels
from omlab_volume.volume import Volume

Axis = Literal["auto", "axial", "coronal", "sagittal"]
_AXES = {"sagittal": (0, 2, 1), "coronal": (1, 2, 0), "axial": (2, 1, 0)}
"""Of the RAS+ axes: across the slices, down their rows, along their columns."""
_WINDOW = (40.0, 400.0)  # centre and width in HU of soft tissue
_PERCENTILES = (0.5, 99.5)
_ENOUGH = 1 << 21  # values that percentiles are taken of


class Slices:
    """The slices of a volume.

    Args:
        volume: Of one channel, any orientation.
        axis: Across which it is cut; "auto": the one of the largest spacing, axial where several have it.
        window: Centre and width of what is shown from black to white; empty: 40 and 400 HU of a CT, else from the 0.5th
            to the 99.5th percentile.

    Raises:
        InputError: Several channels, or values that are not finite.
    """

    def __init__(self, volume: Volume, *, axis: Axis = "auto", window: Sequence[float] = ()) -> None:
        if volume.channels != 1:
            raise InputError(f"{volume.name or 'The volume'} has {volume.channels} channels, but one is needed.")
        if not volume.is_finite():
            raise InputError(f"{volume.name or 'The volume'} has values that are NaN or infinite.")
        self.grid = volume.grid
        spacing = canonical_grid(self.grid).spacing
        largest = max(spacing)
        chosen = (
            axis
            if axis != "auto"
            else next(
                name for name in ("axial", "coronal", "sagittal") if spacing[_AXES[name][0]] >= largest * (1 - 1e-6)
            )
        )
        self.axis: str = chosen
        self._order = _AXES[chosen]
        self._array = self.shown(volume.array[0])
        self._low, self._high = _range(volume, window)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        n, rows, columns = self._array.shape
        return n, rows, columns

    def shown(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of an array (I, J, K) on the volume's grid as (slices, rows, columns)."""
        across, down, along = self._order
        return np.flip(canonical_array(array, self.grid), (down, along)).transpose(across, down, along)

    def hidden(self, array: NDArray[Any]) -> NDArray[Any]:
        """The reverse of `shown`: labels (slices, rows, columns) on the volume's own grid."""
        across, down, along = self._order
        canonical = np.flip(array.transpose(np.argsort([across, down, along])), (down, along))
        return reorient_labels(canonical, self.grid)

    def pixels(self, number: int) -> NDArray[np.float32]:
        """A slice (rows, columns), from 0 to 255 in whole numbers."""
        share = (self._array[number].astype(np.float32) - self._low) / max(self._high - self._low, 1e-6)
        return np.asarray(np.rint(255 * np.clip(share, 0, 1)), np.float32)

    def places(self, voxels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions (n, 3) in voxels of the volume as (slice, x, y), unrounded."""
        order, sizes = canonical_order(self.grid.affine), canonical_grid(self.grid).shape
        found = np.empty_like(voxels)
        for axis, (source, flipped) in enumerate(zip(order.axes, order.flipped, strict=True)):
            found[:, axis] = sizes[axis] - 1 - voxels[:, source] if flipped else voxels[:, source]
        across, down, along = self._order
        return np.stack(
            (found[:, across], sizes[along] - 1 - found[:, along], sizes[down] - 1 - found[:, down]), axis=1
        )

    def voxels(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reverse of `places`."""
        order, sizes = canonical_order(self.grid.affine), canonical_grid(self.grid).shape
        across, down, along = self._order
        found = np.empty_like(places)
        found[:, across] = places[:, 0]
        found[:, along] = sizes[along] - 1 - places[:, 1]
        found[:, down] = sizes[down] - 1 - places[:, 2]
        turned = np.empty_like(found)
        for axis, (source, flipped) in enumerate(zip(order.axes, order.flipped, strict=True)):
            turned[:, source] = sizes[axis] - 1 - found[:, axis] if flipped else found[:, axis]
        return turned


def whole(places: NDArray[np.float64], *, below: int) -> NDArray[np.int64]:
    """The slices that positions lie in."""
    # what arithmetic leaves of a half must not decide between two slices
    return np.rint(np.round(places, 6)).astype(np.int64).clip(0, below - 1)


def _range(volume: Volume, window: Sequence[float]) -> tuple[float, float]:
    """The intensities of black and white."""
    if window or volume.intensity == "hu":
        centre, width = window or _WINDOW
        return centre - width / 2, centre + width / 2
    values = canonical_array(volume.array[0], volume.grid).ravel()
    low, high = np.percentile(values[:: max(1, values.size // _ENOUGH)], _PERCENTILES)
    return float(low), float(high)
