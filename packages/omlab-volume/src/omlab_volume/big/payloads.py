"""The payloads of volumes that do not fit in memory: `BigVolume` (intensities) and `BigLabelMap` (classes).

brain = omlab.read("brain.ome.zarr", kind="big-volume")
block = brain.read((slice(0, 128), slice(0, 128), slice(300, 428)))       # (C, 128, 128, 128)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, UsageError
from omlab.payloads import Inputs, Payload, describe
from omlab_volume.big.voxels import Computed, Held, Region, Shape3, Voxels, checked, whole
from omlab_volume.geometry import Grid
from omlab_volume.labels import Label, labels_named
from omlab_volume.volume import Intensity, LabelMap, OnGrid, Source, Volume


class _Big(OnGrid):
    """What both have in common."""

    voxels: Voxels
    levels: Sequence[Voxels]

    @property
    def grid(self) -> Grid:
        """Shape and affine."""
        return Grid(self.voxels.shape[1:], self.affine)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the voxels."""
        return self.voxels.dtype

    @property
    def chunks(self) -> Shape3:
        """Voxels (i, j, k) that are stored together."""
        return self.voxels.chunks

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along i, j, k."""
        return self.grid.spacing

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory; what stays in a file does not count."""
        return int(self.affine.nbytes + getattr(self.voxels, "nbytes", 0))


@dataclass(frozen=True, eq=False, kw_only=True)
class BigVolume(_Big):
    """A 3-D image that is read by region: `voxels` (C, I, J, K) with `affine` (4, 4) to mm, RAS+.

    `levels` are the same image ever coarser, where the file has a pyramid.
    """

    kind: ClassVar[str] = "big-volume"

    voxels: Voxels
    affine: NDArray[np.float64]
    levels: Sequence[Voxels] = ()
    intensity: Intensity = "unknown"
    source: Source | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", self.grid.affine)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.voxels.shape[0]

    def read(self, region: Sequence[slice]) -> NDArray[Any]:
        """The voxels (C, i, j, k) of a region (i, j, k). Raises `InputError`."""
        return self.voxels.read(checked(region, shape=self.grid.shape))

    def loaded(self) -> Volume:
        """All of it as a `Volume` in memory."""
        array = np.array(self.read(whole(self.grid.shape)))
        return Volume(array=array, affine=self.affine, intensity=self.intensity, source=self.source)

    def coarse(self, *, most: int = 256) -> Volume:
        """Every n-th voxel, so that no axis has more than `most`, from the pyramid where there is one."""
        from omlab_volume.big.coarse import every, factor_for

        factor = factor_for(self.grid.shape, most=most)
        array, affine = every(factor, self.voxels, self.levels, affine=self.affine)
        return Volume(array=array, affine=affine, intensity=self.intensity, source=self.source)

    def thumbnail(self, *, size: int) -> bytes:
        """A PNG of the middle slice along the longest view, in true proportions, at most `size` pixels."""
        from omlab_volume.big.coarse import thumbnail

        return thumbnail(self, size=size)


@dataclass(frozen=True, eq=False, kw_only=True)
class BigLabelMap(_Big):
    """One class per voxel of a big volume: `voxels` (1, I, J, K) of unsigned integers, 0 the background.

    What a model gives is `Computed`: it is computed while it is written. `facts` are as those of a `LabelMap`; what is
    counted while it is computed joins them when it is whole.
    """

    kind: ClassVar[str] = "big-labelmap"

    voxels: Voxels
    affine: NDArray[np.float64]
    levels: Sequence[Voxels] = ()
    labels: Sequence[Label] = ()
    source: Source | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.voxels.shape[0] != 1 or self.voxels.dtype.kind not in "ui":
            raise GeometryError(
                f"A label map has one channel of integers, not {self.voxels.shape[0]} of {self.voxels.dtype}."
            )
        object.__setattr__(self, "affine", self.grid.affine)

    def tells(self) -> Mapping[str, Any]:
        """What its model says of it (`omlab.payloads.Telling`)."""
        counted = self.voxels.counted if isinstance(self.voxels, Computed) else None
        return {**self.facts, **(counted.facts() if counted is not None else {})}

    def telling(self, facts: Mapping[str, Any]) -> BigLabelMap:
        """This label map with other `facts`."""
        return replace(self, facts=dict(facts))

    @property
    def is_computed(self) -> bool:
        """Whether its voxels are yet to be computed."""
        return isinstance(self.voxels, Computed)

    def read(self, region: Sequence[slice]) -> NDArray[Any]:
        """The classes (i, j, k) of a region (i, j, k). Raises `InputError`."""
        array = self.voxels.read(checked(region, shape=self.grid.shape))
        return array.reshape(array.shape[1:])

    def loaded(self) -> LabelMap:
        """All of it as a `LabelMap` in memory."""
        array = np.array(self.read(whole(self.grid.shape)))
        labels = tuple(self.labels)
        return LabelMap(array=array, affine=self.affine, labels=labels, source=self.source, facts=self.tells())

    def named(self, names: Mapping[int, str]) -> BigLabelMap:
        """The same with these names for its values; colours and codes of a value stay."""
        return replace(self, labels=labels_named(self.labels, names))

    def coarse(self, *, most: int = 256) -> LabelMap:
        """Every n-th voxel, so that no axis has more than `most`, from the pyramid where there is one."""
        from omlab_volume.big.coarse import every, factor_for

        factor = factor_for(self.grid.shape, most=most)
        array, affine = every(factor, self.voxels, self.levels, affine=self.affine)
        return LabelMap(array=array[0], affine=affine, labels=tuple(self.labels), source=self.source)

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the big volume among `inputs` with this label map over it, both coarse.

        Raises:
            UsageError: There is no big volume among the inputs, or `target` is no big label map.
            GeometryError: It lies on another grid.
        """
        volume = next((payload for payload in inputs.values() if isinstance(payload, BigVolume)), None)
        if volume is None:
            given = ", ".join(describe(payload) for payload in inputs.values()) or "nothing"
            raise UsageError(f"A big label map is drawn over a big volume, but {given} was given.")
        if not self.same_grid(volume):
            raise GeometryError(f"The label map's grid {self.grid.shape} is not the volume's {volume.grid.shape}.")
        if target is not None and not isinstance(target, BigLabelMap):
            raise UsageError(f"A big label map is compared with a big label map, not with a {describe(target)}.")
        reference = None if target is None else target.coarse()
        return self.coarse().overlay({"volume": volume.coarse()}, target=reference)


@overload
def big(payload: Volume) -> BigVolume: ...
@overload
def big(payload: LabelMap) -> BigLabelMap: ...
def big(payload: Volume | LabelMap) -> BigVolume | BigLabelMap:
    """A volume or label map in memory as its big kind: for tests, and for what only takes those."""
    if isinstance(payload, Volume):
        return BigVolume(
            voxels=Held(payload.array), affine=payload.affine, intensity=payload.intensity, source=payload.source
        )
    return BigLabelMap(
        voxels=Held(payload.array[None]), affine=payload.affine, labels=tuple(payload.labels), source=payload.source
    )


__all__ = ["BigLabelMap", "BigVolume", "Region", "big"]
