"""DICOM files of one frame: what a viewer would show of them, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

import omlab
from omlab.errors import InputError, OmlabWarning, SettingsError
from omlab_image import Image
from omlab_image.io.dicom_image import DicomImage

STORED = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
COLOUR = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a radiograph of 12 bits, or what the tags say; None leaves a tag out."""

    def written(
        pixels: np.ndarray = STORED, *, syntax: str = ExplicitVRLittleEndian, name: str = "a.dcm", **tags: Any
    ) -> Path:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = syntax
        meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
        meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        bits = 8 * pixels.dtype.itemsize
        values: dict[str, Any] = {
            "SOPClassUID": meta.MediaStorageSOPClassUID,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "Modality": "DX",
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "SamplesPerPixel": 3 if pixels.ndim == 3 else 1,
            "PhotometricInterpretation": "RGB" if pixels.ndim == 3 else "MONOCHROME2",
            "PlanarConfiguration": 0 if pixels.ndim == 3 else None,
            "BitsAllocated": bits,
            "BitsStored": 12 if bits == 16 else 8,
            "HighBit": 11 if bits == 16 else 7,
            "PixelRepresentation": int(pixels.dtype.kind == "i"),
            "PixelData": pixels.astype(pixels.dtype.newbyteorder("<")).tobytes(),
            "WindowCenter": 2048 if bits == 16 else None,
            "WindowWidth": 4096 if bits == 16 else None,
            **tags,
        }
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
        dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
        dataset.save_as(tmp_path / "a.dcm")
        return tmp_path / "a.dcm"

    return written


def _image(path: Path, **more: Any) -> Image:
    found = omlab.read(path, kind="image", **more)
    assert isinstance(found, Image)
    return found


def test_the_files_own_window_is_shown(write: Write) -> None:
    found = _image(write())
    assert found.bit_depth == 16
    assert found.spacing is None
    assert np.abs(found.unit() - STORED / 4095).max() < 1e-4
    assert found.source is not None
    assert found.source.meta["Modality"] == "DX"


def test_a_window_of_ones_own(write: Write) -> None:
    found = _image(write(RescaleSlope=2, RescaleIntercept=-1000), window=[1000, 2000]).unit()
    expected = np.clip((2.0 * STORED - 1000 - 1000) / 2000 + 0.5, 0, 1)
    assert np.abs(found - expected).max() < 1e-4
    for wrong in ([5], [1, 0], ["a", "b"]):
        with pytest.raises(SettingsError, match="window"):
            _image(write(), window=wrong)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicoms(function: str, write: Write) -> None:
    path = write(WindowCenter=[1500, 3], WindowWidth=[800, 4], VOILUTFunction=function)
    expected = pydicom.pixels.processing.apply_windowing(STORED, pydicom.dcmread(path)) / 4095
    assert np.abs(_image(path).unit() - expected).max() < 1e-3


def test_a_table_goes_before_a_window(write: Write) -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (np.linspace(1, 0, 4096) ** 2 * 65535).astype("<u2").tobytes()
    found = _image(write(VOILUTSequence=[table])).unit()
    assert np.abs(found - (1 - STORED / 4095) ** 2).max() < 1e-3


def test_low_values_are_white_in_monochrome1(write: Write) -> None:
    plain, inverted = (_image(write(PhotometricInterpretation=what)).unit() for what in ("MONOCHROME2", "MONOCHROME1"))
    assert np.abs(plain + inverted - 1).max() < 1e-4
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (_image(write(stored, PhotometricInterpretation="MONOCHROME1")).array == 255 - stored).all()


def test_8_bits_stay_as_they_are(write: Write) -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = _image(write(stored, RescaleSlope=1, RescaleIntercept=0))
    assert found.array.dtype == np.uint8
    assert (found.array == stored).all()


def test_without_a_window_least_is_black_with_a_warning(write: Write) -> None:
    path = write(STORED.astype(np.int16) - 100, WindowCenter=None, WindowWidth=None, BitsStored=16, HighBit=15)
    with pytest.warns(OmlabWarning, match="from -100 to 3980"):
        found = _image(path).unit()
    assert (found.min(), found.max()) == (0, 1)


def test_padding_is_black_and_no_value(write: Write) -> None:
    stored = STORED.copy()
    stored[:4] = 4095
    none = {"WindowCenter": None, "WindowWidth": None}
    path = write(stored, PixelPaddingValue=4095, PhotometricInterpretation="MONOCHROME1", **none)
    with pytest.warns(OmlabWarning, match="from 1024 to 4080"):
        found = _image(path).unit()
    assert not found[:4].any()
    assert found[4, 0] == 1
    with pytest.raises(InputError, match="padding only"):
        _image(write(np.full((4, 4), 7, np.uint16), PixelPaddingValue=7, **none))


@pytest.mark.parametrize("planar", [0, 1])
def test_colours(planar: int, write: Write) -> None:
    pixels = COLOUR if not planar else COLOUR.transpose(2, 0, 1)
    path = write(COLOUR, PlanarConfiguration=planar, PixelData=np.ascontiguousarray(pixels).tobytes())
    assert (_image(path).array == COLOUR).all()


def test_ybr_becomes_rgb(write: Write) -> None:
    smooth = np.array(Pillow.fromarray(COLOUR).resize((24, 16), Pillow.Resampling.BILINEAR, (4, 4, 12, 10)))
    ybr = np.array(Pillow.fromarray(smooth).convert("YCbCr"))
    path = write(ybr, PhotometricInterpretation="YBR_FULL")
    assert np.abs(_image(path).array.astype(int) - smooth).max() <= 3


def test_a_palette_becomes_rgb(write: Write) -> None:
    ramp = np.arange(256, dtype=np.uint16) * 257
    tags = {
        f"{colour}PaletteColorLookupTable{what}": value
        for colour, table in (("Red", ramp), ("Green", ramp[::-1]), ("Blue", 0 * ramp))
        for what, value in (("Descriptor", [256, 0, 16]), ("Data", table.tobytes()))
    }
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = _image(write(stored, PhotometricInterpretation="PALETTE COLOR", **tags))
    assert (found.array == np.stack([stored, 255 - stored, 0 * stored], axis=2)).all()


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless])
def test_compressed_colours(syntax: str, write: Write) -> None:
    smooth = np.array(Pillow.fromarray(COLOUR).resize((32, 32), Pillow.Resampling.BICUBIC, (2, 2, 8, 8)))
    stream = io.BytesIO()
    if syntax == JPEGBaseline8Bit:
        Pillow.fromarray(smooth).save(stream, "JPEG", quality=95, subsampling=0)
    else:
        Pillow.fromarray(smooth).save(stream, "JPEG2000", irreversible=False, mct=1, no_jp2=True)
    path = write(
        smooth,
        syntax=syntax,
        PixelData=encapsulate([stream.getvalue()]),
        PhotometricInterpretation="YBR_FULL_422" if syntax == JPEGBaseline8Bit else "YBR_RCT",
    )
    assert np.abs(_image(path).array.astype(int) - smooth).max() <= (12 if syntax == JPEGBaseline8Bit else 0)


def test_run_lengths(write: Write) -> None:
    path = write()
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    assert np.abs(_image(path).unit() - STORED / 4095).max() < 1e-4


def test_spacing_in_the_patient_at_the_detector_and_of_ultrasound(write: Write) -> None:
    assert _image(write(PixelSpacing=[0.2, 0.3])).spacing == (0.2, 0.3)
    with pytest.warns(OmlabWarning, match="at the detector"):
        assert _image(write(ImagerPixelSpacing=[0.14, 0.14])).spacing == (0.14, 0.14)
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.01, 0.02
    spacing = _image(write(SequenceOfUltrasoundRegions=[region])).spacing
    assert spacing == pytest.approx((0.2, 0.1))
    assert _image(write(SequenceOfUltrasoundRegions=[region, region])).spacing is None


def test_several_frames_and_folders_are_refused(write: Write, tmp_path: Path) -> None:
    path = write(NumberOfFrames=2, Rows=8)
    with pytest.raises(InputError, match=r"2 frames.*omlab-video.*omlab-volume"):
        _image(path)
    with pytest.raises(InputError, match="omlab-volume"):
        DicomImage().read(tmp_path, kind="image")


def test_damage_is_told(write: Write, tmp_path: Path) -> None:
    path = write()
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=r"a\.dcm"):
            _image(path)
    with pytest.raises(InputError, match="cannot hold"):
        _image(write(Rows=4000, Columns=4000))
    (tmp_path / "b.dcm").write_bytes(b"patient: unknown\n" * 40)
    with pytest.raises(InputError, match=r"b\.dcm"):
        _image(tmp_path / "b.dcm")
    with pytest.raises(InputError, match="holds no picture"):
        _image(_without_pixels(write()))


def test_files_without_a_preamble_are_read(write: Write) -> None:
    path = write()
    dataset = pydicom.dcmread(path)
    expected = _image(path).array
    path.write_bytes(_bare(dataset))
    assert (_image(path).array == expected).all()


def test_a_real_slice(shared_data: Path) -> None:
    found = _image(shared_data / "ct-head-dicom" / "14.dcm")
    assert found.shape == (512, 512)
    assert found.spacing is not None
    assert 0.1 < found.unit().mean() < 0.9


def _without_pixels(path: Path) -> Path:
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    return path


def _bare(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    bare = Dataset({element.tag: element for element in dataset})
    bare.save_as(stream, implicit_vr=True, little_endian=True)
    return stream.getvalue()
