"""DICOM Segmentation objects, written with highdicom and read with pydicom.

    DicomSeg().write(labelmap, Path("seg.dcm"), inputs={"volume": ct})     # a DICOM series that it was made from
    DicomLabelmapSeg().write(labelmap, Path("seg.dcm"), inputs={"volume": ct})

The first has one bit a voxel and segment (BINARY), which every viewer reads; the second one number a voxel, compressed
without loss (LABELMAP, in the standard since 2024b): a small part of the size and of the time.

The object lies on the label map's own grid, whatever its axis order, in the frame of reference of the source series,
and refers to every file of it. Frames without a voxel are left out; a private element keeps the whole grid, so that
reading gives the array, affine and label values back. Source: DICOM PS3.3, A.51 and C.8.20.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from omlab.errors import GeometryError, InputError, OmlabWarning, OutputError
from omlab.payloads import Inputs, Payload
from omlab_volume import __version__
from omlab_volume.geometry import is_orthogonal, swap_lps_ras, unit_axes
from omlab_volume.io.dicom_files import read_unparsed, ready_to_refer_to
from omlab_volume.io.dicom_seg_read import GRID_BLOCK, GRID_GROUP, VALUE_TEXT, read_segmentation
from omlab_volume.io.paths import check_file, written
from omlab_volume.io.quiet import in_a_sentence, quiet
from omlab_volume.labels import complete_labels
from omlab_volume.volume import Label, LabelMap, Source, Volume

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "Rows", "Columns")
_TISSUE = DicomCode("85756007", "SCT", "Tissue")
_ANATOMY = DicomCode("123037004", "SCT", "Anatomical Structure")
_LONGEST_TEXT = 64  # of DICOM's LO


class DicomSeg:
    """Reads label maps from DICOM Segmentation objects, and writes them as BINARY ones."""

    kind: ClassVar[hd.seg.SegmentationTypeValues] = hd.seg.SegmentationTypeValues.BINARY

    def read(self, path: Path, *, kind: str) -> LabelMap:
        """Read the segmentation in the file `path`; see `read_segmentation`."""
        if kind != "labelmap":
            raise InputError(f"{path}: a DICOM-SEG holds a labelmap, not a '{kind}'.")
        check_file(path)
        return read_segmentation(path)

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a label map that was made from a DICOM series: of the `inputs` the one on its grid, else its `source`.

        Labels that no voxel has are left out with an `OmlabWarning`; a map without any labelled voxel keeps its first
        label as one empty segment. Raises `InputError` where the source is no DICOM series or its files are gone,
        `GeometryError` for axes that are not at right angles, and `OutputError`.
        """
        if not isinstance(payload, LabelMap):
            raise OutputError(f"{path}: a DICOM-SEG holds a labelmap, not a '{payload.kind}'.")
        if not is_orthogonal(payload.affine):
            raise GeometryError(f"{path}: DICOM-SEG needs axes at right angles; the label map's affine is sheared.")
        images = _source_images(_source(payload, inputs))
        labels = _segments(payload, path=path)
        numbers = _numbers(labels, kind=self.kind)
        frames = _segment_frames(payload.array, numbers)
        with quiet(), written(path), in_a_sentence(path, what="DICOM-SEG", instead="NIfTI"):
            segmentation = _segmentation(frames, payload, numbers=numbers, images=images, kind=self.kind)
            segmentation.SpecificCharacterSet = "ISO_IR 192"  # the source's cannot spell every label's name
            _keep_grid(segmentation, payload)
            segmentation.save_as(path)


class DicomLabelmapSeg(DicomSeg):
    """Writes label maps as LABELMAP DICOM Segmentation objects, run-length encoded."""

    kind = hd.seg.SegmentationTypeValues.LABELMAP


def _source(labelmap: LabelMap, inputs: Inputs) -> Source | None:
    for payload in inputs.values():
        if isinstance(payload, Volume) and payload.source is not None and labelmap.same_grid(payload):
            return payload.source
    return labelmap.source


def _source_images(source: Source | None) -> list[Dataset]:
    if source is None or source.format != "dicom" or not source.paths:
        found = "its source is unknown" if source is None else f"it was made from {source.format}"
        raise InputError(f"DICOM-SEG must refer to a DICOM series, but {found}: write NIfTI, or predict from DICOM.")
    return [_source_image(path) for path in source.paths]


def _source_image(path: Path) -> Dataset:
    check_file(path)
    header = read_unparsed(path)
    if header is None:
        raise InputError(f"{path} is no longer the DICOM file that the label map was made from.")
    return ready_to_refer_to(header, path=path, needed=_NEEDED, by="a DICOM-SEG", instead="write NIfTI only")


def _segments(labelmap: LabelMap, *, path: Path) -> list[Label]:
    present = complete_labels(labelmap, present_only=True)
    left_out = [
        label.name for label in labelmap.labels if label.value and label.value not in {p.value for p in present}
    ]
    if not present:
        present = complete_labels(labelmap)[:1] or [Label(value=1, name="nothing found")]
        left_out = [name for name in left_out if name != present[0].name]
        warnings.warn(f"{path.name}: no voxel has a label; one segment is written empty.", OmlabWarning, stacklevel=3)
    if left_out:
        names = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        warnings.warn(
            f"{path.name}: {len(left_out)} empty segments were left out: {names}.", OmlabWarning, stacklevel=3
        )
    return present


def _numbers(labels: Sequence[Label], *, kind: hd.seg.SegmentationTypeValues) -> dict[int, Label]:
    """Labels by segment number: 1, 2, ... without gaps, which BINARY demands, else their own values."""
    if kind is hd.seg.SegmentationTypeValues.LABELMAP:
        return {label.value: label for label in labels}
    return dict(enumerate(labels, start=1))


def _segment_frames(array: NDArray[Any], numbers: Mapping[int, Label]) -> NDArray[Any]:
    """The label map with segment numbers for its values, slice by slice (K, J, I)."""
    kind = np.uint8 if max(numbers) < 256 else np.uint16
    # highdicom looks at each slice once for each segment: they have to lie one after the other in memory.
    frames = np.ascontiguousarray(array.transpose(2, 1, 0))
    if all(number == label.value for number, label in numbers.items()):
        return frames.astype(kind, copy=False)
    table = np.zeros(max(label.value for label in numbers.values()) + 1, dtype=kind)
    for number, label in numbers.items():
        table[label.value] = number
    return table.take(frames)


def _segmentation(
    frames: NDArray[Any],
    labelmap: LabelMap,
    *,
    numbers: Mapping[int, Label],
    images: Sequence[Dataset],
    kind: hd.seg.SegmentationTypeValues,
) -> hd.seg.Segmentation:
    affine = swap_lps_ras(labelmap.affine)
    axes, spacing = unit_axes(affine), labelmap.grid.spacing
    positions = [affine[:3] @ np.array([0, 0, k, 1]) for k in range(len(frames))]
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=frames,
        segmentation_type=kind,
        transfer_syntax_uid=RLELossless if kind is hd.seg.SegmentationTypeValues.LABELMAP else ExplicitVRLittleEndian,
        segment_descriptions=[_description(number, label) for number, label in numbers.items()],
        series_instance_uid=hd.UID(),
        series_number=100,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="omlab",
        manufacturer_model_name="omlab-volume",
        software_versions=__version__,
        device_serial_number="0",
        content_label="SEGMENTATION",
        content_description="Automatic segmentation by omlab",
        series_description="omlab segmentation",
        plane_positions=[hd.PlanePositionSequence("PATIENT", [float(n) for n in position]) for position in positions],
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", [float(n) for n in (*axes[:, 0], *axes[:, 1])]),
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=(spacing[1], spacing[0]), slice_thickness=spacing[2], spacing_between_slices=spacing[2]
        ),
    )


def _description(number: int, label: Label) -> hd.seg.SegmentDescription:
    name = _text(label.name) or f"label {label.value}"
    if label.code is not None:
        category = _ANATOMY if label.code.scheme == "SCT" else _TISSUE
        kind = DicomCode(label.code.value, label.code.scheme, _text(label.code.meaning) or name)
    else:
        category, kind = _TISSUE, DicomCode(f"label-{label.value}", "99OMLAB", name)
    colour = None if label.colour is None else hd.color.CIELabColor.from_rgb(*label.colour)
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="omlab", version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
        display_color=colour,
    )
    description.SegmentDescription = f"{VALUE_TEXT}{label.value}"
    return description


def _text(words: str) -> str:
    """The words as DICOM's LO holds them: no control characters, no backslash (it would begin another value)."""
    plain = "".join(character if character.isprintable() else " " for character in words.replace("\\", "/"))
    return plain.strip()[:_LONGEST_TEXT].strip()


def _keep_grid(segmentation: Dataset, labelmap: LabelMap) -> None:
    """The whole grid as JSON in a private element, since empty frames are left out."""
    block = segmentation.private_block(GRID_GROUP, GRID_BLOCK, create=True)
    grid = {"shape": labelmap.grid.shape, "affine": labelmap.affine.tolist()}
    block.add_new(0x01, pydicom.valuerep.VR.UT, json.dumps(grid))
