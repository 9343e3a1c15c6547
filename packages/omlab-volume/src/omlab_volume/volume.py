"""The payloads of this package: `Volume` (intensities) and `LabelMap` (classes) on a `Grid` in space.

Arrays are in voxel order (i, j, k); the affine takes voxel centres (i, j, k, 1) to world coordinates in
mm, RAS+ (x grows towards the patient's Right, y Anterior, z Superior), as in NIfTI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from omlab.errors import GeometryError, UsageError
from omlab.payloads import Inputs, Payload, describe
from omlab_volume.geometry import Grid
from omlab_volume.labels import Code, Label, complete_labels, labels_named

__all__ = ["Code", "Grid", "Intensity", "Label", "LabelMap", "OnGrid", "Source", "Volume"]

Intensity = Literal["hu", "mr", "suv", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an image was read from: the format's name, its files in slice order, and what it says of itself.

    `meta` holds what a writer needs to refer back (DICOM: the series UID, the frame of reference); `folder` is the
    one that was named, where it was no file.
    """

    format: str
    paths: tuple[Path, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def name(self) -> str | None:
        """What the user calls it: the name of the file or folder."""
        place = self.folder or (self.paths[0] if self.paths else None)
        return None if place is None else place.absolute().name

    @property
    def names(self) -> frozenset[str]:
        """All that it may be called: of a series also each of its files."""
        return frozenset({path.name for path in self.paths} | ({self.name} if self.name else set()))


class OnGrid:
    """What volumes and label maps have in common."""

    array: NDArray[Any]
    affine: NDArray[np.float64]
    source: Source | None

    @property
    def grid(self) -> Grid:
        """Shape and affine."""
        i, j, k = self.array.shape[-3:]
        return Grid((i, j, k), self.affine)

    @property
    def name(self) -> str | None:
        """Name of the file or folder that it was read from; None: it was not read."""
        return None if self.source is None else self.source.name

    @property
    def names(self) -> frozenset[str]:
        """All that it may be called by what refers to it."""
        return frozenset() if self.source is None else self.source.names

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return int(self.array.nbytes + self.affine.nbytes)

    def same_grid(self, other: Any) -> bool:
        """Whether `other` (a volume or label map) has the same voxels in space."""
        grid = getattr(other, "grid", None)
        return isinstance(grid, Grid) and self.grid.same(grid)

    def same_frame(self, other: Any) -> bool:
        """Whether `other` (a volume or label map) lies in the same physical space.

        That is: they lie over each other, and where both say which frame of reference they are in (DICOM), it is one.
        """
        grid = getattr(other, "grid", None)
        if not isinstance(grid, Grid) or not self.grid.overlaps(grid):
            return False
        frames = {_frame_of_reference(one) for one in (self.source, getattr(other, "source", None))} - {""}
        return len(frames) < 2


def _frame_of_reference(source: Source | None) -> str:
    return "" if source is None else str(source.meta.get("frame_of_reference_uid", ""))


@dataclass(frozen=True, eq=False, kw_only=True)
class Volume(OnGrid):
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
    def channels(self) -> int:
        """Number of channels."""
        return int(self.array.shape[0])

    def is_finite(self) -> bool:
        """Whether no voxel is NaN or infinite."""
        return bool(np.isfinite(self.array).all())

    @classmethod
    def stack(cls, payloads: Sequence[Volume]) -> Volume:
        """One volume of the channels of several. Raises `GeometryError` where their grids differ."""
        first = payloads[0]
        for other in payloads[1:]:
            if not first.same_grid(other):
                names = " and ".join(one.name or "a channel" for one in (first, other))
                raise GeometryError(
                    f"{names} have grids of {first.grid.shape} and {other.grid.shape} voxels, or lie apart: "
                    "channels lie on the same voxels; resample one of them."
                )
        intensity = first.intensity if all(one.intensity == first.intensity for one in payloads) else "unknown"
        return replace(first, array=np.concatenate([one.array for one in payloads]), intensity=intensity)

    def with_boxes(self, boxes: Any, *, target: Payload | None = None) -> bytes:
        """A PNG of this volume with a payload of kind `boxes` marked, and the outlines of a label map `target`.

        Raises `GeometryError` where boxes are no places in volumes, or the target lies on another grid.
        """
        from omlab_volume.pictures.picture import picture

        return picture(self, target=target if isinstance(target, LabelMap) else None, boxes=boxes)

    def with_array(self, array: NDArray[Any]) -> Volume:
        """This volume with other intensities on the same grid."""
        return replace(self, array=array)


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelMap(OnGrid):
    """One class per voxel: `array` (I, J, K) of unsigned integers, 0 the background.

    `facts` (JSON) is what its model says of it: `structures` by name with how sure they are
    (`omlab_payloads.sureness`), `gate` what was doubtful. Files of label maps do not hold it: it stands in
    the run's log, and as JSON beside them (`omlab.payloads.Telling`).
    """

    kind: ClassVar[str] = "labelmap"

    array: NDArray[Any]
    affine: NDArray[np.float64]
    labels: Sequence[Label] = ()
    source: Source | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.array.dtype.kind not in "ui":
            raise GeometryError(
                f"A label map's array is (I, J, K) of integers, not {self.array.shape} of {self.array.dtype}."
            )
        object.__setattr__(self, "affine", self.grid.affine)

    def tells(self) -> Mapping[str, Any]:
        """What its model says of it (`omlab.payloads.Telling`)."""
        return self.facts

    def telling(self, facts: Mapping[str, Any]) -> LabelMap:
        """This label map with other `facts`."""
        return replace(self, facts=dict(facts))

    def present(self) -> dict[int, str]:
        """The classes that some voxel has, value to name; never the background."""
        return {label.value: label.name for label in complete_labels(self, present_only=True)}

    def named(self, names: Mapping[int, str]) -> LabelMap:
        """This label map with these names for its values; colours and codes of a value stay."""
        return replace(self, labels=labels_named(self.labels, names))

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the volume among `inputs` with this label map, and the outlines of `target`, over it.

        Prompts among the inputs are marked (`omlab_volume.pictures.picture`). Without a target a label map among them
        that lies on this grid is outlined: the reference that clicks were simulated against.

        Raises:
            UsageError: There is no volume among the inputs, or `target` is no label map.
            GeometryError: None of the volumes, or not the target, lies on this grid.
        """
        from omlab_volume.pictures.picture import picture

        if target is not None and not isinstance(target, LabelMap):
            raise UsageError(f"A label map is compared with a label map, not with a {describe(target)}.")
        if target is None:
            target = next((one for one in inputs.values() if isinstance(one, LabelMap) and self.same_grid(one)), None)
        prompts = [payload for payload in inputs.values() if payload.kind == "prompts"]
        return picture(self._volume_below(inputs), self, target=target, prompts=prompts)

    def _volume_below(self, inputs: Inputs) -> Volume:
        volumes = [payload for payload in inputs.values() if isinstance(payload, Volume)]
        if not volumes:
            given = ", ".join(describe(payload) for payload in inputs.values()) or "nothing"
            raise UsageError(f"A label map is drawn over a volume, but {given} was given.")
        found = next((volume for volume in volumes if self.same_grid(volume)), None)
        if found is None:
            size = volumes[0].grid.shape
            raise GeometryError(
                f"The label map's grid {self.grid.shape} is not the volume's {size}, or lies elsewhere."
            )
        return found
