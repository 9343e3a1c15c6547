"""The frames of a DICOM series: where each lies, sorted by position, with what contradicts itself refused.

Single-frame objects and enhanced multi-frame ones (functional groups) become the same list of `Frame`s. Positions
are in DICOM's patient coordinates, LPS+, in mm.

Source: DICOM PS3.3, C.7.6.2 (Image Plane) and C.7.6.16 (functional groups).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from omlab.errors import GeometryError, GeometryWarning, InputError
from omlab_volume.io.dicom_files import DicomFile, parsing
from omlab_volume.io.slice_stack import SliceStack

_PHASE_TAGS = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "EchoTime",
    "EchoNumbers",
    "DiffusionBValue",
    "ImageType",
    "ConvolutionKernel",
    "AcquisitionTime",
    "ContentTime",
    "InstanceNumber",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Frame:
    """One slice: `position` (3,) of its first voxel, `axes` (2, 3) unit vectors of row and column, sizes in mm.

    `spacing` is along a row (i) and along a column (j); `shape` is (columns, rows) = (I, J). `slope` and `intercept`
    take stored values to `rescale_type` units; they and `thickness` are None where the header says nothing.
    """

    file: DicomFile
    index: int
    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    spacing: tuple[float, float]
    shape: tuple[int, int]
    thickness: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str | None

    @property
    def path(self) -> Path:
        """The file that the frame stands in."""
        return self.file.path


def frames_of(files: Sequence[DicomFile]) -> list[Frame]:
    """All frames of the files, unsorted. Raises `InputError` or `GeometryError` that names the file."""
    frames: list[Frame] = []
    for file in files:
        with parsing(file.path):
            frames += [_frame(file, index) for index in range(_frame_count(file))]
    return frames


def _frame_count(file: DicomFile) -> int:
    header = file.header
    if int(header.get("SamplesPerPixel") or 1) != 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError(f"{file.path} is a colour image: a scan with one intensity a voxel is needed.")
    groups = header.get("PerFrameFunctionalGroupsSequence")
    count = int(header.get("NumberOfFrames") or 1)
    if groups is None and count > 1:
        raise GeometryError(f"{file.path} has {count} frames but does not say where each lies (no functional groups).")
    if groups is not None and len(groups) != count:
        raise InputError(f"{file.path} describes {len(groups)} frames but says it has {count}.")
    return count


def _frame(file: DicomFile, index: int) -> Frame:
    header = file.header
    plane = functional_group(header, index, "PlaneOrientationSequence")
    sizes = functional_group(header, index, "PixelMeasuresSequence")
    scale = functional_group(header, index, "PixelValueTransformationSequence")
    position = functional_group(header, index, "PlanePositionSequence")
    axes = _numbers(plane, "ImageOrientationPatient", 6, path=file.path).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(axes[0] @ axes[1]) > 0.01:
        raise GeometryError(f"{file.path} has an ImageOrientationPatient that is no two unit vectors at right angles.")
    row_distance, column_distance = _numbers(sizes, "PixelSpacing", 2, path=file.path)
    if min(row_distance, column_distance) <= 0:
        raise GeometryError(f"{file.path} has a PixelSpacing of {row_distance:g} x {column_distance:g} mm.")
    thickness = _optional(sizes, "SpacingBetweenSlices") or _optional(sizes, "SliceThickness")
    kind = scale.get("RescaleType")
    return Frame(
        file=file,
        index=index,
        position=_numbers(position, "ImagePositionPatient", 3, path=file.path),
        axes=axes / lengths[:, None],
        spacing=(float(column_distance), float(row_distance)),
        shape=(int(header.Columns), int(header.Rows)),
        thickness=abs(thickness) if thickness else None,
        slope=_optional(scale, "RescaleSlope"),
        intercept=_optional(scale, "RescaleIntercept"),
        rescale_type=str(kind) if kind else None,
    )


def functional_group(header: Dataset, index: int, name: str) -> Dataset:
    """Where a frame's macro stands: its own group, the shared one, or (single-frame objects) the header itself."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        return header
    for groups in (per_frame[index], *(header.get("SharedFunctionalGroupsSequence") or ())):
        found = groups.get(name)
        if found:
            return found[0]  # type: ignore[no-any-return]
    return Dataset()


def _numbers(group: Dataset, keyword: str, count: int, *, path: Path) -> NDArray[np.float64]:
    value: Any = group.get(keyword)
    if value is None or value == "":
        raise GeometryError(f"{path} has no {keyword}, so it cannot be placed in space: export the series again.")
    try:
        numbers = np.array([float(part) for part in value])
    except (TypeError, ValueError) as error:
        raise GeometryError(f"{path} has a {keyword} that is no list of numbers: {value}.") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise GeometryError(f"{path} has a {keyword} of {len(numbers)} values {value}, not {count} numbers.")
    return numbers


def _optional(group: Dataset, keyword: str) -> float | None:
    value = group.get(keyword)
    return float(value) if value not in (None, "") else None


def sort_by_position(frames: Sequence[Frame], *, folder: Path) -> list[list[Frame]]:
    """The frames along their normal; those at one position together.

    Raises `InputError` for frames of different size, `GeometryError` for different orientations or voxel sizes.
    """
    first = frames[0]
    for frame in frames:
        if frame.shape != first.shape:
            raise InputError(
                f"{folder} mixes slices of different size: {_size(first)} and {_size(frame)}; separate them."
            )
        if np.abs(frame.axes - first.axes).max() > 1e-3:
            raise GeometryError(
                f"{folder} mixes slices of different orientation: {first.path.name} and {frame.path.name}; "
                f"separate them."
            )
        if not np.allclose(frame.spacing, first.spacing, rtol=1e-3):
            raise GeometryError(
                f"{folder} mixes slices of different PixelSpacing: {first.path.name} {first.spacing} and "
                f"{frame.path.name} {frame.spacing}; separate them."
            )
    normal = np.cross(first.axes[0], first.axes[1])
    same = 0.02 * min(first.spacing)
    ordered = sorted(frames, key=lambda frame: float(frame.position @ normal))
    places: list[list[Frame]] = []
    for frame in ordered:
        if places and abs((frame.position - places[-1][0].position) @ normal) < same:
            places[-1].append(frame)
        else:
            places.append([frame])
    return places


def _size(frame: Frame) -> str:
    return f"{frame.path.name} {frame.shape[0]} x {frame.shape[1]}"


def difference(first: Frame, second: Frame) -> str:
    """Which tag tells two frames at one position apart, for the sentence that refuses them."""
    for keyword in _PHASE_TAGS:
        here, there = (_said(frame, keyword) for frame in (first, second))
        if here != there:
            return f"{keyword}: {here} and {there}"
    return "their pixels only"


def _said(frame: Frame, keyword: str) -> Any:
    if frame.file.header.get("PerFrameFunctionalGroupsSequence") is None:
        return frame.file.header.get(keyword)
    for item in frame.file.header.PerFrameFunctionalGroupsSequence[frame.index].iterall():
        if item.keyword == keyword:
            return item.value
    return None


def known_thickness(frame: Frame) -> float:
    """How thick a lone slice is, in mm; 1 with a `GeometryWarning` where the file does not say so."""
    if frame.thickness is None:
        warnings.warn(
            f"{frame.path} is one slice and does not say how thick it is: 1 mm is taken.",
            GeometryWarning,
            stacklevel=4,
        )
        return 1.0
    return frame.thickness


def stack_of(frames: Sequence[Frame]) -> SliceStack:
    """The geometry of sorted frames, one at each position, in LPS+."""
    first = frames[0]
    return SliceStack(
        row=first.axes[0],
        column=first.axes[1],
        origins=np.array([frame.position for frame in frames]),
        spacing=first.spacing,
        shape=first.shape,
        thickness=known_thickness(first) if len(frames) == 1 else 0.0,
    )
