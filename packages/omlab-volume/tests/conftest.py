"""DICOM series made up for the tests, and where the real images are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SliceMaker = Callable[..., FileDataset]


def _slice(pixels: np.ndarray, *, position: Any, number: int, series: str, **tags: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "1.2.3.4",
        "SeriesInstanceUID": series,
        "FrameOfReferenceUID": "1.2.3.5",
        "Modality": "CT",
        "PatientID": "phantom",
        "SeriesNumber": 3,
        "InstanceNumber": number,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImagePositionPatient": [float(n) for n in position],
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "PixelSpacing": [0.8, 0.5],
        "SliceThickness": 2.0,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": pixels.astype("<i2").tobytes(),
    }
    for keyword, value in {**values, **tags}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


@pytest.fixture
def dicom_slice() -> SliceMaker:
    """Makes one CT slice in memory; `None` for a tag leaves it out."""
    return _slice


@pytest.fixture
def dicom_series() -> Callable[..., list[Path]]:
    """Writes a CT series of (N, J, I) stored values into a folder, the files named against their order."""

    def write(
        folder: Path, stored: np.ndarray, *, positions: Any = None, series: str = "1.2.3.6", **tags: Any
    ) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for k, pixels in enumerate(stored):
            position = positions[k] if positions is not None else (-10.0, -20.0, 30.0 + 2.0 * k)
            path = folder / f"{series}_{len(stored) - k:03d}.dcm"
            _slice(pixels, position=position, number=(7 * k) % 50, series=series, **tags).save_as(path)
            paths.append(path)
        return paths

    return write


@pytest.fixture
def edit_dicom() -> Callable[..., None]:
    """Changes tags of a DICOM file; `None` deletes one."""

    def edit(path: Path, **tags: Any) -> None:
        dataset: Dataset = pydicom.dcmread(path)
        for keyword, value in tags.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(path)

    return edit


@pytest.fixture
def shared_data() -> Path:
    """The real images beside the repository; skips where they are absent."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real images are not beside this repository")
    return folder
