"""Pixels: read from where they stand as a decoder gives them, rescaled and freed of padding by the definition."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from omlab.errors import InputError, OmlabWarning
from omlab_volume.io import dicom_pixels
from omlab_volume.io.dicom import Dicom
from omlab_volume.io.dicom_files import find_series
from omlab_volume.io.dicom_pixels import PixelReader, read_values
from omlab_volume.io.dicom_series import Frame, frames_of

Writer = Any
SHAPE = (4, 5)


def _frames(folder: Path) -> list[Frame]:
    return sorted(frames_of(find_series(folder)), key=lambda frame: float(frame.position[2]))


def _definition(stored: np.ndarray, scales: list[tuple[float, float]], bounds: tuple[int, int] | None) -> np.ndarray:
    """Slice by slice in 64 bits (whole numbers) or single precision, with every voxel's padding looked at."""
    whole = all(float(n).is_integer() for scale in scales for n in scale)
    kind = np.int64 if whole else np.float32
    values = np.stack([plane.astype(kind) * kind(a) + kind(b) for plane, (a, b) in zip(stored, scales, strict=True)])
    if bounds is not None:
        padding = (stored >= bounds[0]) & (stored <= bounds[1])
        if padding.any():
            values[padding] = values[~padding].min()
    fits = whole and values.min() >= -(2**15) and values.max() < 2**15
    return values.astype(np.int16 if fits else np.float32)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_values_are_those_of_the_definition(tmp_path_factory: Any, dicom_slice: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("series")
    signed = data.draw(st.booleans())
    kind = np.int16 if signed else np.uint16
    limits = np.iinfo(kind)
    number = st.one_of(st.integers(int(limits.min), int(limits.max)), st.integers(-2 if signed else 0, 3))
    stored = np.array(data.draw(st.lists(number, min_size=60, max_size=60))).astype(kind).reshape(3, *SHAPE)
    slopes = st.sampled_from([1.0, 1.0, 2.0, -1.0, 0.5])
    scales = [(data.draw(slopes), data.draw(st.sampled_from([0.0, -1024.0, 7.0]))) for _ in stored]
    bounds = data.draw(st.sampled_from([None, (0, 0), (-2, 1), (1, 3), (int(limits.min), int(limits.min))]))
    if bounds is not None and not signed:
        bounds = (max(bounds[0], 0), bounds[1])
    if bounds is not None and ((stored >= bounds[0]) & (stored <= bounds[1])).all():
        bounds = None
    for k, (plane, (slope, intercept)) in enumerate(zip(stored, scales, strict=True)):
        dataset = dicom_slice(
            plane.view(np.int16), position=(0, 0, 2.0 * k), number=k, series="1.2.3", PixelRepresentation=int(signed),
            RescaleSlope=slope, RescaleIntercept=intercept,
        )  # fmt: skip
        if bounds is not None:
            vr = "SS" if signed else "US"
            dataset.add_new("PixelPaddingValue", vr, bounds[0])
            dataset.add_new("PixelPaddingRangeLimit", vr, bounds[1])
        dataset.save_as(folder / f"{k}.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)
        values = read_values(_frames(folder), folder=folder)
    expected = _definition(stored, scales, bounds)
    assert values.dtype == expected.dtype
    assert np.array_equal(values, expected)


@pytest.mark.parametrize("kind", ["u1", "i2", "u2"])
@pytest.mark.parametrize("spare", [0, 4])
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_what_stands_in_the_file_is_what_the_decoder_gives(
    tmp_path: Path, dicom_series: Writer, kind: str, spare: int, syntax: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = 8 * int(kind[1])
    noise = np.random.default_rng(0).integers(0, 2**bits, (2, 3, 5)).astype(f"u{kind[1]}")  # also in the spare bits
    paths = dicom_series(tmp_path / "series", np.zeros((2, 3, 5), np.int16))
    for path, plane in zip(paths, noise, strict=True):
        dataset = pydicom.dcmread(path)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits - spare, bits - spare - 1
        dataset.PixelRepresentation = int(kind[0] == "i")
        raw = plane.astype(plane.dtype.newbyteorder(">")) if syntax == ExplicitVRBigEndian else plane
        dataset.PixelData = raw.tobytes() + b"\0" * (raw.nbytes % 2)
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
        if syntax is not None:
            dataset.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(path, dataset, enforce_file_format=True, implicit_vr=syntax.is_implicit_VR,
                             little_endian=syntax.is_little_endian)  # fmt: skip
        else:
            dataset.save_as(path)
    decoded: list[Path] = []
    decode = dicom_pixels._decode
    monkeypatch.setattr(dicom_pixels, "_decode", lambda path: decoded.append(path) or decode(path))
    reader = PixelReader()
    for frame in _frames(tmp_path / "series"):
        assert np.array_equal(reader.stored(frame), pydicom.dcmread(frame.path).pixel_array)
    assert len(decoded) == (2 if syntax == ExplicitVRBigEndian else 0)


def test_a_file_that_became_shorter_is_named(tmp_path: Path, dicom_series: Writer) -> None:
    paths = dicom_series(tmp_path / "series", np.zeros((2, 3, 5), np.int16))
    frames = _frames(tmp_path / "series")
    paths[0].write_bytes(paths[0].read_bytes()[:-8])
    with pytest.raises(InputError, match="became shorter"):
        read_values(frames, folder=tmp_path)


def test_a_series_keeps_what_its_files_say_each(tmp_path: Path, dicom_series: Writer, edit_dicom: Any) -> None:
    paths = dicom_series(tmp_path / "series", np.zeros((3, 3, 5), np.int16))
    edit_dicom(paths[1], RescaleIntercept=-1000)
    assert Dicom().read(tmp_path / "series", kind="volume").array[0, 0, 0].tolist() == [-1024, -1000, -1024]
    said = {str(file.header.SOPInstanceUID) for file in find_series(tmp_path / "series")}
    assert said == {str(pydicom.dcmread(path).SOPInstanceUID) for path in paths}
