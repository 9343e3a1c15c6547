"""The payloads of this package: `Volume` (intensities) and `LabelMap` (classes) on a `Grid` in space.

Arrays are in voxel order (i, j, k); the affine takes voxel centres (i, j, k, 1) to world coordinates in
mm, RAS+ (x grows towards the patient's Right, y Anterior, z Superior), as in NIfTI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, UsageError

if TYPE_CHECKING:
    from omlab.prompts import Prompts
    from omlab.roles import Payload

Intensity = Literal["hu", "mr", "suv", "unknown"]


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an image lie: `shape` (I, J, K) and a 4x4 `affine` to world mm (RAS+)."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)  # a copy: the caller's array stays writable
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"The affine must be 4x4 and finite, not {affine.tolist()}.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise GeometryError(f"The affine is singular: its axes {affine[:3, :3].tolist()} span no volume.")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"A grid has three axes of at least one voxel, not {self.shape}.")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along i, j, k."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    def same(self, other: Grid, *, tolerance: float = 1e-3) -> bool:
        """Whether both grids have the same voxels: corners agree within `tolerance` of a voxel."""
        if self.shape != other.shape:
            return False
        corners = np.array([[0, 0, 0, 1], [*np.subtract(self.shape, 1), 1]], dtype=np.float64).T
        axes = np.abs(self.affine[:3, :3] - other.affine[:3, :3]) * np.array(self.shape)
        gap = max(np.abs((self.affine - other.affine) @ corners).max(), axes.max())
        return bool(gap <= tolerance * min(self.spacing))


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an image was read from: the format's name, its files in slice order, and what it says of itself.

    `meta` holds what a writer needs to refer back (DICOM: the series UID, the frame of reference).
    """

    format: str
    paths: tuple[Path, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Volume:
    """A 3-D image: `array` (C, I, J, K) with `affine` (4, 4) and what its `intensity` means."""

    kind: ClassVar[str] = "volume"

    array: NDArray[Any]
    affine: NDArray[np.float64]
    intensity: Intensity = "unknown"
    source: Source | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 4:
            raise GeometryError(f"A volume's array is (C, I, J, K), not of shape {self.array.shape}.")
        object.__setattr__(self, "affine", self.grid.affine)

    @property
    def grid(self) -> Grid:
        """Shape and affine."""
        i, j, k = self.array.shape[1:]
        return Grid((i, j, k), self.affine)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.array.shape[0])

    def same_grid(self, other: Any) -> bool:
        """Whether `other` (a volume or label map) has the same voxels in space."""
        return self.grid.same(other.grid)

    def with_array(self, array: NDArray[Any]) -> Volume:
        """This volume with other intensities on the same grid."""
        return replace(self, array=array)


@dataclass(frozen=True, kw_only=True)
class Code:
    """A coded concept, such as SNOMED CT's (`scheme` "SCT")."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Label:
    """One class of a label map: its voxel `value`, `name`, `colour` (R, G, B) and code where known."""

    value: int
    name: str
    colour: tuple[int, int, int] | None = None
    code: Code | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelMap:
    """One class per voxel: `array` (I, J, K) of unsigned integers, 0 the background."""

    kind: ClassVar[str] = "labelmap"

    array: NDArray[Any]
    affine: NDArray[np.float64]
    labels: Sequence[Label] = ()
    source: Source | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.array.dtype.kind not in "ui":
            raise GeometryError(
                f"A label map's array is (I, J, K) of integers, not {self.array.shape} of {self.array.dtype}."
            )
        object.__setattr__(self, "affine", self.grid.affine)

    @property
    def grid(self) -> Grid:
        """Shape and affine."""
        i, j, k = self.array.shape
        return Grid((i, j, k), self.affine)

    def same_grid(self, other: Any) -> bool:
        """Whether `other` (a volume or label map) has the same voxels in space."""
        return self.grid.same(other.grid)

    def overlay(self, payload: Payload, *, prompts: Prompts | None = None) -> bytes:
        """A PNG of a volume with this label map drawn over it (`omlab_volume.pictures.picture`).

        Raises `UsageError` where `payload` is no volume, `GeometryError` where it lies on another grid.
        """
        from omlab_volume.pictures.picture import picture

        if not isinstance(payload, Volume):
            raise UsageError(f"A label map is drawn over a volume, not over a {payload.kind}.")
        return picture(payload, self, prompts=prompts)
