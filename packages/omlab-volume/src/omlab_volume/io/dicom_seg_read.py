"""Reading DICOM Segmentation objects of any writer back into a label map."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels

from omlab.errors import GeometryError, InputError, OmlabError, OmlabWarning, one_line
from omlab_volume.geometry import affine_from_axes, swap_lps_ras
from omlab_volume.io.dicom_files import SEGMENTATIONS, DicomFile, parsing, read_dataset, read_header
from omlab_volume.io.dicom_pixels import check_size
from omlab_volume.io.dicom_series import Frame, frames_of, functional_group, known_thickness
from omlab_volume.volume import Code, Grid, Label, LabelMap, Source

GRID_GROUP = 0x0099
GRID_BLOCK = "OMLAB"
VALUE_TEXT = "omlab label value "
_OFF_GRID = 0.1  # of a voxel: how far a frame may lie from the grid


def read_segmentation(path: Path) -> LabelMap:
    """The label map in the file `path`, (I, J, K) with i along rows and j along columns.

    Label values are the segment numbers, or those that omlab wrote. The grid spans the frames that are there; in
    omlab's own files it is the whole grid that was written. Where segments overlap the later one holds, with an
    `OmlabWarning`.
    Raises `InputError` or `GeometryError` that names the file.
    """
    with parsing(path):
        return _read(path)


def _read(path: Path) -> LabelMap:
    header = read_header(path)
    if header is None:
        raise InputError(f"{path} is not a DICOM file.")
    if header.get("SOPClassUID") not in SEGMENTATIONS:
        raise InputError(f"{path} is no DICOM-SEG but modality {header.get('Modality', 'unknown')}.")
    if header.get("SegmentationType") == "FRACTIONAL":
        raise InputError(
            f"{path} is a fractional segmentation (probabilities): only binary and label map ones are read."
        )
    check_size(header, path=path)
    frames = frames_of([DicomFile(path=path, header=header)])
    grid = _kept_grid(header) or _spanned_grid(frames, header=header, path=path)
    values = {int(segment.SegmentNumber): _value(segment) for segment in header.SegmentSequence}
    array = _filled(frames, header=header, grid=grid, values=values, path=path)
    labels = [_label(segment) for segment in header.SegmentSequence if values[int(segment.SegmentNumber)] > 0]
    return LabelMap(
        array=array,
        affine=grid.affine,
        labels=tuple(labels),
        source=Source(format="dicom-seg", paths=(path,), meta={"series_uid": str(header.get("SeriesInstanceUID", ""))}),
    )


def _kept_grid(header: Dataset) -> Grid | None:
    """The grid that omlab keeps in its own files."""
    try:
        kept = json.loads(header.private_block(GRID_GROUP, GRID_BLOCK)[0x01].value)
        first, second, third = (int(n) for n in kept["shape"])
        grid = Grid((first, second, third), np.array(kept["affine"], dtype=np.float64))
    except (KeyError, ValueError, TypeError, OmlabError):
        return None
    return grid if grid.shape[:2] == (header.Columns, header.Rows) else None


def _spanned_grid(frames: list[Frame], *, header: Dataset, path: Path) -> Grid:
    """The grid from the first to the last frame."""
    first = frames[0]
    if any(np.abs(frame.axes - first.axes).max() > 1e-3 for frame in frames):
        raise GeometryError(f"{path} has frames of different orientation, which one label map cannot hold.")
    normal = np.cross(first.axes[0], first.axes[1])
    positions = np.array([frame.position for frame in frames])
    depths = (positions - positions[0]) @ normal
    gaps = np.diff(np.unique(np.round(depths, 3)))
    said = functional_group(header, 0, "PixelMeasuresSequence").get("SpacingBetweenSlices")
    step = float(gaps.min()) if len(gaps) else known_thickness(first)
    if said and len(gaps) and np.abs(gaps / abs(said) - np.rint(gaps / abs(said))).max() <= _OFF_GRID:
        step = abs(float(said))  # no two neighbours may be left, since empty frames are left out
    axes = np.stack([first.axes[0] * first.spacing[0], first.axes[1] * first.spacing[1], normal * step], axis=1)
    affine = affine_from_axes(axes, origin=positions[int(depths.argmin())])
    count = round(float(np.ptp(depths)) / step) + 1
    return Grid((*first.shape, count), swap_lps_ras(affine))


def _slice_index(frame: Frame, *, grid: Grid, path: Path) -> int:
    """On which slice k of the grid the frame lies. Raises `GeometryError` where it lies beside it."""
    voxel = np.linalg.solve(swap_lps_ras(grid.affine), np.array([*frame.position, 1.0]))[:3]
    index = round(float(voxel[2]))
    if np.abs(voxel - [0, 0, index]).max() > _OFF_GRID or not 0 <= index < grid.shape[2]:
        raise GeometryError(
            f"{path}: frame {frame.index + 1} lies at {voxel.round(2).tolist()} voxels of a regular grid: "
            f"unevenly spaced or tilted frames cannot be one label map."
        )
    return index


def _filled(frames: list[Frame], *, header: Dataset, grid: Grid, values: dict[int, int], path: Path) -> NDArray[Any]:
    is_labelmap = header.get("SegmentationType") == "LABELMAP"
    highest = max(values.values())
    if is_labelmap:
        table = np.arange(1 << int(header.BitsAllocated))  # a number that is no segment stays as it is
        table[list(values)] = list(values.values())
        highest = int(table.max()) if int(header.BitsAllocated) > 8 else max(highest, 255)
    array = np.zeros(grid.shape[::-1], dtype=np.uint8 if highest < 256 else np.uint16)
    overlapping = 0
    for frame, pixels in zip(frames, _pixels(path), strict=True):
        plane = array[_slice_index(frame, grid=grid, path=path)]
        if is_labelmap:
            plane[...] = table[pixels]
            continue
        group = functional_group(header, frame.index, "SegmentIdentificationSequence")
        here = pixels > 0
        overlapping += int(np.count_nonzero(plane[here]))
        plane[here] = values[int(group.ReferencedSegmentNumber)]
    if overlapping:
        what = f"segments overlap in {overlapping:,} voxels; the later segment holds there"
        warnings.warn(f"{path}: {what}.", OmlabWarning, stacklevel=4)
    return array.transpose(2, 1, 0)


def _pixels(path: Path) -> Iterator[NDArray[Any]]:
    try:
        yield from iter_pixels(read_dataset(path))
    except Exception as error:  # a damaged file makes the decoders fail in as many ways as there are damages
        raise InputError(f"{path}: its pixels cannot be read ({one_line(error)}); export the file again.") from error


def _value(segment: Dataset) -> int:
    text = str(segment.get("SegmentDescription") or "")
    if text.startswith(VALUE_TEXT) and text.removeprefix(VALUE_TEXT).isdecimal():
        return int(text.removeprefix(VALUE_TEXT))
    return int(segment.SegmentNumber)


def _label(segment: Dataset) -> Label:
    colour = None
    if lab := segment.get("RecommendedDisplayCIELabValue"):
        red, green, blue = hd.color.CIELabColor.from_dicom_value(lab).to_rgb(clip=True)
        colour = (int(red), int(green), int(blue))
    code = None
    if kinds := segment.get("SegmentedPropertyTypeCodeSequence"):
        scheme = str(kinds[0].get("CodingSchemeDesignator", ""))
        if scheme != "99OMLAB":
            code = Code(
                value=str(kinds[0].get("CodeValue", "")), scheme=scheme, meaning=str(kinds[0].get("CodeMeaning", ""))
            )
    return Label(value=_value(segment), name=str(segment.get("SegmentLabel", "")), colour=colour, code=code)
