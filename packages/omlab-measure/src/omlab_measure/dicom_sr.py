"""DICOM structured reports of measurements: TID 1500 (Measurement Report), written with highdicom.

    DicomSr().write(measurements, Path("report.dcm"), inputs={"labelmap": segmentation, "volume": ct})

Each structure is a measurement group: TID 1411 (Volumetric ROI) that refers to its segment where the label map was read
from a DICOM-SEG, TID 1501 otherwise. The report's image library lists the source series. Names of measurements are
coded by IBSI and SNOMED CT where these have the concept, else by `99OMLAB`. Source: DICOM PS3.16, TID 1500, CID 7477.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import highdicom as hd
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from omlab.errors import InputError
from omlab.payloads import Inputs, Payload
from omlab_measure import __version__
from omlab_measure.files import checked_kind
from omlab_measure.measurements import Measurements
from omlab_measure.structures import INTENSITY, UNITS, Structure
from omlab_volume.io.dicom_files import read_header, ready_to_refer_to
from omlab_volume.io.dicom_seg_read import VALUE_TEXT
from omlab_volume.io.paths import check_file, written
from omlab_volume.io.quiet import in_a_sentence, quiet
from omlab_volume.volume import LabelMap, Volume

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_PRIVATE = "99OMLAB"
_LONGEST = 64  # of a code's meaning and of an identifier

_NAMES: Mapping[str, Code] = {
    "volume_ml": Code("YEKZ", "IBSI", "Volume from Voxel Summation"),
    "mesh_volume_ml": Code("RNU0", "IBSI", "Volume of Mesh"),
    "surface_area_mm2": Code("C0JK", "IBSI", "Surface Area of Mesh"),
    "surface_to_volume_per_mm": Code("2PR5", "IBSI", "Surface to Volume Ratio"),
    "sphericity": Code("QCFX", "IBSI", "Sphericity"),
    "diameter_3d_mm": Code("L0JK", "IBSI", "Maximum 3D Diameter of a Mesh"),
    "long_axis_mm": codes.SCT.LongAxis,
    "short_axis_mm": codes.SCT.ShortAxis,
    "major_axis_mm": Code("TDIC", "IBSI", "Major Axis in 3D Length"),
    "minor_axis_mm": Code("P9VJ", "IBSI", "Minor Axis in 3D Length"),
    "least_axis_mm": Code("7J51", "IBSI", "Least Axis in 3D Length"),
    "elongation": Code("Q3CK", "IBSI", "Elongation"),
    "flatness": Code("N17B", "IBSI", "Flatness"),
    "mean": Code("Q4LE", "IBSI", "Mean Intensity"),
    "minimum": Code("1GSF", "IBSI", "Minimum Intensity"),
    "p10": Code("QG58", "IBSI", "10th Intensity Percentile"),
    "median": Code("Y12H", "IBSI", "Median Intensity"),
    "p90": Code("8DWT", "IBSI", "90th Intensity Percentile"),
    "maximum": Code("84IY", "IBSI", "Maximum Intensity"),
    "interquartile_range": Code("SALO", "IBSI", "Intensity Interquartile Range"),
    "mean_absolute_deviation": Code("4FUA", "IBSI", "Intensity Mean Absolute Deviation"),
    "root_mean_square": Code("5ZWQ", "IBSI", "Root Mean Square Intensity"),
    "skewness": Code("KE2A", "IBSI", "Intensity Skewness"),
}
"""Concepts with our definitions; what is not here has a private code (IBSI's kurtosis is the one in excess)."""

_UCUM: Mapping[str, Code] = {
    "": Code("1", "UCUM", "no units"),
    "ml": Code("mL", "UCUM", "milliliter"),
    "mm": Code("mm", "UCUM", "millimeter"),
    "mm2": Code("mm2", "UCUM", "square millimeter"),
    "1/mm": Code("/mm", "UCUM", "per millimeter"),
    "bit": Code("bit", "UCUM", "bit"),
    "HU": Code("[hnsf'U]", "UCUM", "Hounsfield unit"),
    "SUV": Code("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight"),
}


class _Evidence(NamedTuple):
    """What a report refers to: the source series, and the segmentation with its segments' numbers by label value."""

    images: Sequence[Dataset]
    segmentation: Dataset | None
    segments: Mapping[int, int]


class DicomSr:
    """The format `dicom-sr`."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A report that refers to what was read from DICOM among the `inputs`.

        Raises `InputError` where that is neither the image nor the label map, or its files are gone; `OutputError`.
        """
        found = checked_kind(payload)
        evidence = _evidence(inputs)
        with quiet(), written(path), in_a_sentence(path, what="DICOM SR", instead="JSON"):
            report = _report(found, evidence)
            report.SpecificCharacterSet = "ISO_IR 192"  # the source's cannot spell every structure's name
            report.save_as(path)


def _evidence(inputs: Inputs) -> _Evidence:
    labelmap = next((one.source for one in inputs.values() if isinstance(one, LabelMap)), None)
    image = next((one.source for one in inputs.values() if isinstance(one, Volume)), None)
    segmentation = _header(labelmap.paths[0]) if labelmap is not None and labelmap.format == "dicom-seg" else None
    images = [_header(path) for path in image.paths] if image is not None and image.format == "dicom" else []
    if segmentation is None and not images:
        given = " and ".join(dict.fromkeys(source.format for source in (labelmap, image) if source is not None))
        raise InputError(
            f"A DICOM SR must refer to a DICOM series or segmentation, but what was measured is {given or 'no file'}: "
            "write JSON, or give the DICOM series as the image."
        )
    return _Evidence(images, segmentation, _segments(segmentation))


def _header(path: Path) -> Dataset:
    check_file(path)
    header = read_header(path)
    if header is None:
        raise InputError(f"{path} is no longer the DICOM file that was measured.")
    return ready_to_refer_to(header, path=path, needed=_NEEDED, by="a DICOM SR", instead="write JSON")


def _segments(segmentation: Dataset | None) -> dict[int, int]:
    """Numbers of segments by label value, which is the number itself unless omlab wrote another one down."""
    found = {}
    for segment in [] if segmentation is None else segmentation.SegmentSequence:
        number = int(segment.SegmentNumber)
        said = str(segment.get("SegmentDescription") or "").removeprefix(VALUE_TEXT)
        found[int(said) if said.isdecimal() else number] = number
    return found


def _report(found: Measurements, evidence: _Evidence) -> sr.Comprehensive3DSR:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=hd.UID(), name="omlab", manufacturer_name="omlab", model_name="omlab-measure", serial_number=__version__
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )
    content = sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[_group(entry, found, evidence) for entry in found.structures],
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=evidence.images or None,
    )
    segmentation = [] if evidence.segmentation is None else [evidence.segmentation]
    return sr.Comprehensive3DSR(
        evidence=[*evidence.images, *segmentation],
        content=content[0],
        series_instance_uid=hd.UID(),
        series_number=101,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="omlab",
        is_complete=True,
        is_final=False,
        series_description="omlab measurements",
    )


def _group(entry: Structure, found: Measurements, evidence: _Evidence) -> Any:
    name = _text(entry.name) or f"label {entry.value}"
    more: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(uid=hd.UID(), identifier=name),
        "finding_type": Code(f"label-{entry.value}", _PRIVATE, name) if entry.code is None else _code(entry.code),
        "algorithm_id": sr.AlgorithmIdentification(name="omlab-measure", version=__version__),
        "measurements": [
            _measurement(figure, value, found)
            for figure, value in entry.figures.items()
            if value is not None and math.isfinite(value)
        ],
    }
    segment = _segment(entry, evidence)
    if segment is None:
        return sr.MeasurementsAndQualitativeEvaluations(**more)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(**more, referenced_segment=segment)


def _segment(entry: Structure, evidence: _Evidence) -> sr.ReferencedSegment | None:
    """The segment of a structure; None where there is none, or the segmentation does not say of which series it is."""
    segmentation = evidence.segmentation
    if segmentation is None or entry.value not in evidence.segments:
        return None
    series = [str(row.SeriesInstanceUID) for row in segmentation.get("ReferencedSeriesSequence") or []]
    series += [str(image.SeriesInstanceUID) for image in evidence.images[:1]]
    if not series:
        return None
    return sr.ReferencedSegment(
        sop_class_uid=str(segmentation.SOPClassUID),
        sop_instance_uid=str(segmentation.SOPInstanceUID),
        segment_number=evidence.segments[entry.value],
        source_series=sr.SourceSeriesForSegmentation(series[0]),
    )


def _measurement(figure: str, value: float, found: Measurements) -> sr.Measurement:
    unit = found.intensity_unit if UNITS[figure] == INTENSITY else UNITS[figure]
    return sr.Measurement(
        name=_NAMES.get(figure) or Code(figure[:16], _PRIVATE, figure.replace("_", " ")),
        value=float(value),
        unit=_UCUM.get(unit) or Code(unit[:16], _PRIVATE, unit),
    )


def _code(code: tuple[str, str, str]) -> Code:
    value, scheme, meaning = code
    return Code(value, scheme, _text(meaning) or value)


def _text(words: str) -> str:
    """The words as DICOM's LO holds them: no control characters, no backslash (it would begin another value)."""
    plain = "".join(character if character.isprintable() else " " for character in words.replace("\\", "/"))
    return plain.strip()[:_LONGEST].strip()
