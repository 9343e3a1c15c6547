"""Which DICOM files of a folder are slices of one series.

What is no slice is skipped, several series are refused, and so is a folder with slices that cannot be read: without
them the rest would be another scan.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from omlab import progress
from omlab.errors import InputError, OmlabError, OmlabWarning, one_line
from omlab_volume.io.paths import check_file
from omlab_volume.io.quiet import quiet

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # binary or fractional; label map
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame kinds below it: screen shots, dose pages
_LOOKED_AT = frozenset(Tag(name) for name in (
    "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "ImageType", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "SegmentSequence",
))  # fmt: skip
KnownElements = dict[tuple[int, str | None, Any, bool], DataElement]  # parsed elements by what stands in the file
_MOST_LISTED = 8  # series or files that an error spells out
_SUFFIXES = (".dcm", ".dicom", ".ima")
_PREAMBLE = 128  # bytes, mostly 0, before "DICM" and the first element
_PIXEL_DATA = b"\xe0\x7f\x10\x00"  # the tag of pixels that are no floats
_NOT_SCANS = ("RTDOSE", "SEG", "PR", "KO", "SR", "REG", "RTSTRUCT", "RTPLAN", "DOC")
_MAY_BE_EMPTY = (  # "type 2" elements of patient and study: present in every object, if without a value
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DicomFile:
    """One file with everything that it says but its pixels.

    `pixels` is which bytes of the file they are; None where they are compressed, big-endian or not there.
    """

    path: Path
    header: Dataset
    pixels: range | None = None


def read_dataset(path: Path) -> Dataset:
    """What pydicom reads of the file, which may also lack preamble and file meta information.

    Raises `InvalidDicomError` where it is no DICOM file, and whatever pydicom raises for a damaged one.
    """
    with path.open("rb") as file:
        return _parsed(file, pixels=True)


def _parsed(file: BinaryIO, *, pixels: bool) -> Dataset:
    """The data set of an open file, which is left before its pixels unless they are asked for."""
    with quiet():
        bare = _is_bare(file)
        dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=bare)
        if bare and "TransferSyntaxUID" not in getattr(dataset, "file_meta", ()):
            dataset.file_meta = FileMetaDataset()
            implicit, _ = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


def _is_bare(file: BinaryIO) -> bool:
    """Whether the file begins with a data set at once: its first element is of group 2 or 8, and a plausible one."""
    start = file.read(8)
    file.seek(0)
    group, element, length = (int.from_bytes(part, "little") for part in (start[:2], start[2:4], start[4:8]))
    known = len(start) == 8 and group in (2, 8) and element <= 0x20
    return known and ((start[4:6].isalpha() and start[4:6].isupper()) or length <= 64)


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Around whatever looks at the elements of the file (or files) at `path`: they are parsed when they are looked at.

    A damaged file makes parsers and decoders fail in as many ways as there are damages; all become `InputError`.
    """
    try:
        with quiet():
            yield
    except OmlabError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:
        raise InputError(
            f"{path} is damaged DICOM ({type(error).__name__}: {one_line(error)}); export it again."
        ) from error


def read_file(path: Path, *, known: KnownElements | None = None) -> DicomFile | None:
    """The file without its pixels; None where it is no DICOM file. Raises `InputError` where it is a damaged one.

    `known` are elements of other files: what says the same is not parsed again.
    """
    with parsing(path), path.open("rb") as file:
        try:
            header = _parsed(file, pixels=False)
        except InvalidDicomError:
            return None
        _parse_elements(header, {} if known is None else known)
        return DicomFile(path=path, header=header, pixels=_native_pixels(file, header))


def _parse_elements(header: Dataset, known: KnownElements) -> None:
    """Parse what is looked at, so that damage is found here; what `known` has already is taken from there."""
    for tag in _LOOKED_AT & header.keys():
        raw = header.get_item(tag)
        if not isinstance(raw, RawDataElement) or dictionary_VR(tag) == "SQ":
            header[tag]
            continue
        key = (tag, raw.VR, raw.value, raw.is_little_endian)
        if key in known:
            header[tag] = known[key]
        else:
            known[key] = header[tag]


def _native_pixels(file: BinaryIO, header: Dataset) -> range | None:
    """The bytes of uncompressed little-endian pixels in a file that stands before them."""
    if header.file_meta.get("TransferSyntaxUID") not in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        return None
    implicit, little = header.original_encoding
    element = file.read(8 if implicit else 12)
    length = int.from_bytes(element[-4:], "little")
    start = file.tell()
    whole = start + length <= file.seek(0, os.SEEK_END)  # an unknown length, of all ones, is above any file's
    return range(start, start + length) if little and element[:4] == _PIXEL_DATA and whole else None


def read_header(path: Path) -> Dataset | None:
    """The header of `read_file`."""
    file = read_file(path)
    return None if file is None else file.header


def read_unparsed(path: Path) -> Dataset | None:
    """What a file says but its pixels, to be looked at within `parsing`; None where it is no DICOM file."""
    with parsing(path), path.open("rb") as file:
        try:
            return _parsed(file, pixels=False)
        except InvalidDicomError:
            return None


def ready_to_refer_to(header: Dataset, *, path: Path, needed: Sequence[str], by: str, instead: str) -> Dataset:
    """The header of a file as a new DICOM object takes it over; what every object must have at least empty is added.

    Args:
        header: Of the file.
        path: Of the file.
        needed: Keywords that must have a value.
        by: What the new object is, for messages.
        instead: What to do where the file cannot be referred to.

    Raises:
        InputError: A keyword has no value.
    """
    with parsing(path):
        missing = [keyword for keyword in needed if not header.get(keyword)]
        if missing:
            raise InputError(f"{path} has no {missing[0]}, which {by} must refer to: {instead}.")
        for keyword in _MAY_BE_EMPTY:
            if keyword not in header:
                setattr(header, keyword, "")
    return header


def find_series(path: Path, *, series: str = "") -> list[DicomFile]:
    """The image files of the one series in `path`, a folder (with its sub-folders) or one file.

    Skipped without a word: hidden files, DICOMDIR, files that are not DICOM or hold no image, screen shots. Localisers
    (scouts) are left out with an `OmlabWarning` unless there is nothing else. `series` chooses one of several by its
    UID, the end of it, or its number. Raises `InputError`, also for files that look like slices and cannot be read.
    """
    if not path.is_dir():
        check_file(path)
        file = read_file(path)
        if file is None:
            raise InputError(f"{path} is not a DICOM file.")
        if not _is_scan(file.header):
            raise InputError(f"{path} {_what_instead(file.header)}.")
        return [file]
    files = _scans_in(path)
    by_series: dict[str, list[DicomFile]] = {}
    for file in _without_localisers(files, folder=path):
        by_series.setdefault(str(file.header.get("SeriesInstanceUID", "")), []).append(file)
    if series:
        by_series = {uid: found for uid, found in by_series.items() if _is_called(series, uid, found)}
        if not by_series:
            raise InputError(f"{path} has no series '{series}': give the end of its UID or its series number.")
    if len(by_series) > 1:
        described = [_described(uid, files) for uid, files in by_series.items()]
        found = "; ".join(described[:_MOST_LISTED]) + ("; ..." if len(described) > _MOST_LISTED else "")
        raise InputError(
            f"{path} holds {len(by_series)} series: {found}: "
            "name one with -s read.series=NUMBER (in Python read(..., series=...)), or give a folder with one."
        )
    return next(iter(by_series.values()))


def _scans_in(folder: Path) -> list[DicomFile]:
    paths = _candidates(folder)
    found: list[DicomFile] = []
    others: list[DicomFile] = []  # DICOM files without an image
    foreign: list[Path] = []
    damaged: dict[Path, str] = {}
    known: KnownElements = {}
    with progress.bar("DICOM headers", total=len(paths)) as advance:
        for path in paths:
            try:
                file = read_file(path, known=known)
            except InputError:
                damaged[path] = "damaged"
            else:
                if file is None:
                    foreign.append(path)
                else:
                    (found if _is_scan(file.header) else others).append(file)
            advance()
    damaged |= {path: "0 bytes" if not path.stat().st_size else "no DICOM" for path in _lost(foreign, found)}
    damaged |= {file.path: "header cut short" for file in _cut_short(others, found)}
    if damaged:
        _refuse(damaged, folder=folder)
    if not found:
        what = f"; a DICOM file there {_what_instead(others[0].header)}" if others else ""
        raise InputError(f"{folder} holds no DICOM images ({len(paths)} files looked at){what}.")
    return found


def _lost(foreign: Iterable[Path], found: Sequence[DicomFile]) -> list[Path]:
    """The files that are not DICOM but are named as slices are.

    Names without a suffix say little: of them, those beside slices that are empty or end within the preamble.
    """
    bare = {file.path.parent for file in found if _is_plain(file.path)}
    return [
        path
        for path in foreign
        if path.suffix.lower() in _SUFFIXES or (_is_plain(path) and path.parent in bare and _is_blank(path))
    ]


def _is_plain(path: Path) -> bool:
    return path.suffix[1:].isdigit() or not path.suffix


def _is_blank(path: Path) -> bool:
    with path.open("rb") as file:
        return not file.read(_PREAMBLE).strip(b"\0")


def _cut_short(others: Sequence[DicomFile], found: Sequence[DicomFile]) -> list[DicomFile]:
    """The files without an image that end before they say what they are, or say to be of the slices' kind."""
    kinds = {_kind(file.header) for file in found}
    return [
        file
        for file in others
        if "Rows" not in file.header
        and file.header.get("Modality") not in _NOT_SCANS
        and any(kind.startswith(_kind(file.header)) for kind in kinds)  # the kind itself may be cut short
    ]


def _kind(header: Dataset) -> str:
    """The object's class; "" where the file ends before it."""
    return str(header.get("SOPClassUID") or getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID") or "")


def _refuse(damaged: dict[Path, str], *, folder: Path) -> None:
    named = [f"{path.relative_to(folder)} ({what})" for path, what in sorted(damaged.items())[:_MOST_LISTED]]
    more = f" and {len(damaged) - _MOST_LISTED} more" if len(damaged) > _MOST_LISTED else ""
    files = (
        "a file that is no readable slice" if len(damaged) == 1 else f"{len(damaged)} files that are no readable slices"
    )
    raise InputError(
        f"{folder} holds {files}: {', '.join(named)}{more}; export the series again, or take out what is not needed."
    )


def _candidates(folder: Path) -> list[Path]:
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [Path(parent, name) for name in sorted(names) if not name.startswith(".") and name != "DICOMDIR"]
    if not paths:
        raise InputError(f"{folder} is an empty folder: give one that holds a DICOM series.")
    return [path for path in paths if path.is_file()]


def _is_scan(header: Dataset) -> bool:
    return (
        "Rows" in header
        and "Columns" in header
        and header.get("Modality") not in _NOT_SCANS
        and not str(header.get("SOPClassUID", "")).startswith(_SECONDARY_CAPTURE)
    )


def _what_instead(header: Dataset) -> str:
    if header.get("SOPClassUID") in SEGMENTATIONS:
        return "is a segmentation (DICOM-SEG), not a scan: read it as a label map"
    modality = header.get("Modality") or "unknown"
    return f"is a DICOM file without a scan (modality {modality}): give the images"


def _without_localisers(files: Sequence[DicomFile], *, folder: Path) -> list[DicomFile]:
    kept = [file for file in files if "LOCALIZER" not in (file.header.get("ImageType") or ())]
    if kept and len(kept) < len(files):
        warnings.warn(f"{folder}: {len(files) - len(kept)} localiser images were left out.", OmlabWarning, stacklevel=4)
    return kept or list(files)


def _is_called(name: str, uid: str, files: Sequence[DicomFile]) -> bool:
    return bool(name) and (uid.endswith(name) or str(files[0].header.get("SeriesNumber", "")) == name)


def _described(uid: str, files: Sequence[DicomFile]) -> str:
    header = files[0].header
    name = header.get("SeriesDescription") or header.get("Modality") or "no description"
    return f"...{uid[-12:]} '{name}' ({len(files)} files)"
