"""Which DICOM files of a folder are slices of one series: the rest is skipped, several series are refused."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from omlab import progress
from omlab.errors import InputError, OmlabWarning
from omlab_volume.io.paths import check_file

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # binary or fractional; label map
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame kinds below it: screen shots, dose pages
_LOOKED_AT = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "ImageType", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "SegmentSequence",
)  # fmt: skip
_MOST_LISTED = 8  # series that an error spells out
_NOT_SCANS = ("RTDOSE", "SEG", "PR", "KO", "SR", "REG", "RTSTRUCT", "RTPLAN", "DOC")


@dataclass(frozen=True, kw_only=True)
class DicomFile:
    """One file with everything that it says but its pixels."""

    path: Path
    header: Dataset


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's remarks on values that break the standard's spelling; what matters is checked by us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(path: Path) -> Dataset | None:
    """The file's header; None where it is no DICOM file. Raises `InputError` where it is a damaged one."""
    try:
        with quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            for keyword in _LOOKED_AT:  # elements are parsed when they are looked at; a damaged one shows here
                header.get(keyword)
    except InvalidDicomError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a damaged file makes the parser fail in as many ways as there are damages
        raise InputError(
            f"{path} is a damaged DICOM file ({type(error).__name__}: {error}); export it again."
        ) from error
    return header


def find_series(path: Path, *, series: str = "") -> list[DicomFile]:
    """The image files of the one series in `path`, a folder (with its sub-folders) or one file.

    Skipped without a word: hidden files, DICOMDIR, files that are not DICOM or hold no image, screen shots. Localisers
    (scouts) are left out with an `OmlabWarning` unless there is nothing else. `series` chooses one of several by its
    UID, the end of it, or its number. Raises `InputError`.
    """
    if not path.is_dir():
        check_file(path)
        header = read_header(path)
        if header is None:
            raise InputError(f"{path} is not a DICOM file.")
        if not _is_scan(header):
            raise InputError(f"{path} {_what_instead(header)}.")
        return [DicomFile(path=path, header=header)]
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
            "name one with --read-set series=NUMBER (in Python read(..., series=...)), or give a folder with one."
        )
    return next(iter(by_series.values()))


def _scans_in(folder: Path) -> list[DicomFile]:
    paths = _candidates(folder)
    found, others = [], []
    with progress.task("DICOM headers", total=len(paths)) as advance:
        for path in paths:
            header = read_header(path)
            if header is not None and _is_scan(header):
                found.append(DicomFile(path=path, header=header))
            elif header is not None:
                others.append(header)
            advance()
    if not found:
        what = f"; a DICOM file there {_what_instead(others[0])}" if others else ""
        raise InputError(f"{folder} holds no DICOM images ({len(paths)} files looked at){what}.")
    return found


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
