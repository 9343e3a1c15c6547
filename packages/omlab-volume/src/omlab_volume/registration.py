"""The payloads of registration: `Transform` (where voxels of a fixed image lie in a moving one) and `Registration`.

A registration is compound: its parts are the moving volume on the fixed one's grid and the transform that brought it
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from omlab.errors import GeometryError
from omlab.payloads import Payload
from omlab_volume.volume import Grid, LabelMap, Source, Volume

_ROUNDING = 1e-3
"""Voxels beyond the border that float32 may make of a place on it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Transform:
    """A displacement for each voxel of a fixed image: `displacement` (3, I, J, K), mm along x, y, z of RAS+.

    What lies at the world point p of the fixed image lies at p + displacement of the moving one.
    """

    kind: ClassVar[str] = "transform"

    displacement: NDArray[np.float32]
    affine: NDArray[np.float64]
    source: Source | None = None

    def __post_init__(self) -> None:
        if self.displacement.ndim != 4 or self.displacement.shape[0] != 3:
            raise GeometryError(f"A displacement is (3, I, J, K), not of shape {self.displacement.shape}.")
        object.__setattr__(self, "affine", self.grid.affine)

    @property
    def grid(self) -> Grid:
        """Of the fixed image."""
        i, j, k = self.displacement.shape[1:]
        return Grid((i, j, k), self.affine)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return int(self.displacement.nbytes + self.affine.nbytes)

    def is_finite(self) -> bool:
        """Whether no displacement is NaN or infinite."""
        return bool(np.isfinite(self.displacement).all())

    def same_grid(self, other: Any) -> bool:
        """Whether `other` has the same voxels in space."""
        grid = getattr(other, "grid", None)
        return isinstance(grid, Grid) and self.grid.same(grid)

    def same_frame(self, other: Any) -> bool:
        """Whether `other` lies in the same physical space as the fixed image."""
        grid = getattr(other, "grid", None)
        return isinstance(grid, Grid) and self.grid.overlaps(grid)

    def apply(self, moving: Volume) -> Volume:
        """`moving` on the fixed image's grid, linearly; 0 where it has no voxel."""
        places = self._places(moving.grid)
        layers = [_sampled(layer, places, order=1) for layer in moving.array]
        return Volume(array=np.stack(layers), affine=self.affine, intensity=moving.intensity)

    def apply_labels(self, moving: LabelMap) -> LabelMap:
        """A label map on the fixed image's grid, by the nearest voxel; background where it has none."""
        array = _sampled(moving.array, self._places(moving.grid), order=0)
        return LabelMap(array=array, affine=self.affine, labels=moving.labels)

    def _places(self, moving: Grid) -> NDArray[np.float32]:
        """The voxel (fractions) of `moving` at which each voxel of the fixed image lies, (3, I, J, K)."""
        to_moving = np.linalg.inv(moving.affine)
        own = (to_moving @ self.affine).astype(np.float32)
        axes = np.ogrid[tuple(slice(0, n) for n in self.displacement.shape[1:])]
        turn = to_moving[:3, :3].astype(np.float32)
        places = np.empty(self.displacement.shape, np.float32)
        for axis in range(3):
            i, j, k = (own[axis, n] * axes[n] for n in range(3))
            place = i + j + k + own[axis, 3] + np.tensordot(turn[axis], self.displacement, axes=1)
            inside = place.clip(0, moving.shape[axis] - 1)
            places[axis] = np.where(np.abs(place - inside) < _ROUNDING, inside, place)
        return places


@dataclass(frozen=True, eq=False, kw_only=True)
class Registration:
    """A moving volume on the grid of a fixed one, and the transform that brought it there."""

    kind: ClassVar[str] = "registration"

    warped: Volume
    transform: Transform

    def parts(self) -> Mapping[str, Payload]:
        """`warped` and `transform`."""
        return {"warped": self.warped, "transform": self.transform}


def _sampled(array: NDArray[Any], places: NDArray[np.float32], *, order: int) -> NDArray[Any]:
    kind = np.float32 if order else array.dtype
    return np.asarray(ndimage.map_coordinates(array, places, order=order, output=kind, mode="constant", cval=0))
