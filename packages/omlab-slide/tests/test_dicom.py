"""DICOM whole slides: a folder of the files of one, or one of those files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

import omlab
from omlab.cases import cases_in
from omlab.errors import InputError
from omlab_slide.slide import open_slide
from omlab_slide.testing import draw_slide

DRAWING = draw_slide((1000, 700), seed=7)
MICROSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.6"
TILE, FACTOR = 256, 4


def write_dicom(folder, drawing, *, mpp, name=""):
    """Two levels as two files of one series (PS3.3, VL whole slide microscopy, TILED_FULL)."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {key: generate_uid() for key in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")}
    for level in range(2):
        factor = FACTOR**level
        size = (drawing.shape[1] // factor, drawing.shape[0] // factor)
        pixels = np.asarray(Image.fromarray(drawing).resize(size, Image.Resampling.BOX))
        _write_level(folder / f"{name}{level}.dcm", pixels, common=common, level=level, mpp=mpp * factor)


def _write_level(path, pixels, *, common, level, mpp):
    frames = _frames(pixels)
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = MICROSCOPY
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = generate_uid()
    found.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    measures, path_of_light = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [mpp / 1000] * 2, 0.001
    path_of_light.OpticalPathIdentifier, path_of_light.ObjectiveLensPower = "1", 20
    groups = Dataset()
    groups.PixelMeasuresSequence = [measures]
    values = {
        **common,
        "Modality": "SM",
        "ImageType": ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
        if level
        else ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "DimensionOrganizationType": "TILED_FULL",
        "TotalPixelMatrixColumns": pixels.shape[1],
        "TotalPixelMatrixRows": pixels.shape[0],
        "TotalPixelMatrixFocalPlanes": 1,
        "NumberOfOpticalPaths": 1,
        "Rows": TILE,
        "Columns": TILE,
        "NumberOfFrames": len(frames),
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "YBR_FULL_422",
        "PlanarConfiguration": 0,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "SharedFunctionalGroupsSequence": [groups],
        "OpticalPathSequence": [path_of_light],
        "PixelData": encapsulate(frames),
    }
    for key, value in values.items():
        setattr(found, key, value)
    found["PixelData"].is_undefined_length = True
    found.save_as(path, enforce_file_format=True)


def _frames(pixels):
    rows, columns = (-(-side // TILE) for side in pixels.shape[:2])
    padded = np.full((rows * TILE, columns * TILE, 3), 255, np.uint8)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    frames = []
    for row in range(rows):
        for column in range(columns):
            stream = BytesIO()
            tile = padded[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            Image.fromarray(tile).save(stream, "JPEG", quality=95)
            frames.append(stream.getvalue())
    return frames


def test_a_folder_or_a_file_of_it_is_a_slide(tmp_path):
    write_dicom(tmp_path / "case", DRAWING, mpp=0.5)
    for path in (tmp_path / "case", tmp_path / "case" / "1.dcm"):
        slide = open_slide(path)
        assert slide.dimensions == (1000, 700)
        assert [level.size for level in slide.levels] == [(1000, 700), (250, 175)]
        assert slide.scale == pytest.approx(0.5)
        difference = slide.read((100, 200), 0, (300, 150)).astype(int) - DRAWING[200:350, 100:400]
        assert np.abs(difference).mean() < 4
    assert omlab.read(tmp_path / "case", kind="slide").dimensions == (1000, 700)


def test_folders_in_a_folder_are_slides_each(tmp_path):
    for name in ("a", "b"):
        write_dicom(tmp_path / "all" / name, DRAWING[:300, :300], mpp=0.5)
    assert [case.id for case in cases_in([tmp_path / "all"], "slide", name="slide")] == ["a", "b"]


def test_a_folder_of_two_slides_is_refused(tmp_path):
    for name in ("a", "b"):
        write_dicom(tmp_path / "case", DRAWING[:300, :300], mpp=0.5, name=name)
    with pytest.raises(InputError, match=r"holds 2 slides: name a file of each, such as a0\.dcm, b0\.dcm"):
        open_slide(tmp_path / "case")
    assert open_slide(Path(tmp_path / "case" / "b0.dcm")).dimensions == (300, 300)
