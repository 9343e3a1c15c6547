"""DICOM series: order, geometry and values by position in space, and what is refused in one sentence."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, RLELossless

import omlab
from omlab.cases import cases_in
from omlab.errors import (
    GeometryError,
    GeometryWarning,
    InputError,
    MissingDependencyError,
    OmlabError,
    OmlabNote,
    OmlabWarning,
    SettingsError,
)
from omlab_volume.io import dicom_pixels
from omlab_volume.io.dicom import Dicom
from omlab_volume.io.slice_stack import SliceStack, regular_grid, resample
from omlab_volume.volume import Volume

Writer = Callable[..., list[Path]]


@pytest.fixture
def stored() -> np.ndarray:
    """Stored values (N, J, I) of a small series."""
    return np.random.default_rng(0).integers(0, 2000, (5, 6, 7)).astype(np.int16)


def _read(path: Path, **options: Any) -> Volume:
    return Dicom().read(path, kind="volume", **options)


def test_slices_are_sorted_by_position_and_rescaled(tmp_path: Path, dicom_series: Writer, stored: np.ndarray) -> None:
    paths = dicom_series(tmp_path, stored)
    volume = _read(tmp_path)
    assert volume.intensity == "hu"
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array[0], stored.transpose(2, 1, 0) - 1024)
    assert np.allclose(volume.affine, [[-0.5, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]])
    assert volume.source is not None
    assert volume.source.paths == tuple(paths)
    assert volume.source.meta["series_uid"] == "1.2.3.6"
    assert volume.source.meta["frame_of_reference_uid"] == "1.2.3.5"
    assert volume.source.meta["resampled"] is False


def test_oblique_axes_place_every_voxel(tmp_path: Path, dicom_series: Writer, stored: np.ndarray) -> None:
    row, column = np.array([0.8, 0.6, 0.0]), np.array([0.0, 0.0, -1.0])
    normal = np.cross(row, column)
    positions = [np.array([5.0, 6.0, 7.0]) - 3.0 * k * normal for k in range(5)]  # stored against the normal
    dicom_series(tmp_path, stored, positions=positions, ImageOrientationPatient=[*row, *column])
    volume = _read(tmp_path)
    n, j, i = 3, 4, 2
    world = positions[n] + row * 0.5 * i + column * 0.8 * j  # LPS
    voxel = np.linalg.solve(volume.affine, [-world[0], -world[1], world[2], 1.0])[:3]
    assert np.allclose(voxel, np.rint(voxel), atol=1e-6)
    assert volume.array[(0, *np.rint(voxel).astype(int))] == stored[n, j, i] - 1024


def test_each_slice_has_its_own_rescale(tmp_path: Path, dicom_series: Writer, edit_dicom: Any) -> None:
    paths = dicom_series(tmp_path, np.full((3, 4, 4), 100, np.int16))
    edit_dicom(paths[1], RescaleSlope=0.5, RescaleIntercept=10)
    volume = _read(tmp_path)
    assert volume.array.dtype == np.float32
    assert volume.array[0, 0, 0].tolist() == [100 - 1024, 60, 100 - 1024]


def test_other_files_of_the_folder_are_skipped(tmp_path: Path, dicom_series: Writer, dicom_slice: Any) -> None:
    stored = np.zeros((3, 4, 4), np.int16)
    dicom_series(tmp_path / "deep" / "er", stored)
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / ".hidden.dcm").write_bytes(b"hidden")
    (tmp_path / "DICOMDIR").write_bytes(b"directory")
    (tmp_path / "empty").write_bytes(b"")
    report = dicom_slice(stored[0], position=(0, 0, 0), number=1, series="9", Modality="SR")
    del report.Rows
    report.save_as(tmp_path / "report.dcm")
    shot = dicom_slice(stored[0], position=(0, 0, 0), number=1, series="8", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    shot.save_as(tmp_path / "shot.dcm")
    assert _read(tmp_path).array.shape == (1, 4, 4, 3)


def _cases(folder: Path) -> list[str]:
    return [case.id for case in cases_in([folder], "volume", name="volume")]


def test_a_stray_file_beside_folders_of_series_does_not_make_them_one_case(
    tmp_path: Path, dicom_series: Writer
) -> None:
    study = tmp_path / "study"
    for name in ("arterial", "venous"):
        dicom_series(study / name, np.zeros((2, 4, 4), np.int16))
    alone = _cases(study)
    assert alone == ["arterial", "venous"]
    (study / "README").write_text("What they are.")
    (study / "list.xlsx").write_bytes(b"PK\x03\x04\x00")
    with pytest.warns(OmlabNote, match="README and 1 more beside folders of cases: left out"):
        assert _cases(study) == alone


def test_slices_without_suffix_or_preamble_beside_folders_are_one_case(tmp_path: Path, dicom_series: Writer) -> None:
    study = tmp_path / "study"
    (path,) = dicom_series(study / "more", np.zeros((1, 4, 4), np.int16))
    (study / "IM0001").write_bytes(path.read_bytes()[132:])
    assert _cases(study) == ["study"]


def test_localisers_are_left_out(tmp_path: Path, dicom_series: Writer) -> None:
    dicom_series(tmp_path, np.zeros((3, 4, 4), np.int16))
    dicom_series(tmp_path, np.zeros((1, 4, 4), np.int16), series="7.7", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.warns(OmlabWarning, match="1 localiser images were left out"):
        assert _read(tmp_path).array.shape == (1, 4, 4, 3)


def test_several_series_are_listed_and_one_can_be_chosen(tmp_path: Path, dicom_series: Writer) -> None:
    dicom_series(tmp_path, np.zeros((3, 4, 4), np.int16), series="1.2.77", SeriesDescription="portal")
    dicom_series(tmp_path, np.zeros((2, 4, 4), np.int16), series="1.2.88", SeriesDescription="late", SeriesNumber=5)
    with pytest.raises(InputError, match=r"2 series: .*1\.2\.77 'portal' \(3 files\); .*1\.2\.88 'late' \(2 files\)"):
        _read(tmp_path)
    assert _read(tmp_path, series="2.77").array.shape[3] == 3
    assert omlab.read(tmp_path, series=5).array.shape[3] == 2
    with pytest.raises(SettingsError, match=r"no setting 'number'.*series"):
        omlab.read(tmp_path, number=5)
    assert _read(tmp_path, series="5").array.shape[3] == 2
    with pytest.raises(InputError, match="no series '6'"):
        _read(tmp_path, series="6")


def test_one_file_is_one_slice_and_says_so(tmp_path: Path, dicom_series: Writer) -> None:
    path = dicom_series(tmp_path, np.zeros((3, 4, 5), np.int16))[1]
    with pytest.warns(OmlabWarning, match="is one slice .*: for a whole series give its folder"):
        volume = _read(path)
    assert volume.array.shape == (1, 5, 4, 1)
    assert volume.grid.spacing == pytest.approx((0.5, 0.8, 2.0))


def test_copies_are_dropped_and_phases_refused(tmp_path: Path, dicom_series: Writer, edit_dicom: Any) -> None:
    stored = np.zeros((3, 4, 4), np.int16)
    paths = dicom_series(tmp_path, stored)
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(paths[1].read_bytes())
    with pytest.warns(OmlabWarning, match="1 copies of slices"):
        assert _read(tmp_path).array.shape[3] == 3
    edit_dicom(copy, PixelData=np.ones((4, 4), "<i2").tobytes(), AcquisitionNumber=2)
    with pytest.raises(InputError, match=r"2 different images at one position .* AcquisitionNumber: .*2"):
        _read(tmp_path)


def _tilted(
    count: int = 12, *, degrees: float = 15.0, distances: Any = None
) -> tuple[np.ndarray, list[np.ndarray], Any]:
    """A series of a world-space ramp, taken with a tilted gantry: value = 3x + 5y + 7z + 1000 (LPS)."""
    angle = np.radians(degrees)
    row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), -np.sin(angle)])
    table = np.arange(count) * 3.0 if distances is None else np.cumsum(distances)
    positions = [np.array([-3.0, -4.0, 50.0 + z]) for z in table]
    j, i = np.mgrid[:20, :10]
    stored = []
    for position in positions:
        world = position[:, None, None] + row[:, None, None] * 0.5 * i + column[:, None, None] * 0.8 * j
        stored.append(np.rint(10 * (3 * world[0] + 5 * world[1] + 7 * world[2]) + 1000))
    return np.array(stored).astype(np.int16), positions, [*row, *column]


@pytest.mark.parametrize(
    ("degrees", "distances", "message"),
    [
        (15.0, None, "gantry tilt of 15.0 degrees: resampled"),
        (0.0, [2, 2, 2, 2, 6, 6, 6], "slice spacing from 2 to 6 mm: resampled"),
        (0.0, [2, 2, 4, 2, 2], "slice spacing from 2 to 4 mm: resampled"),
        (-20.0, [4, 4, 4, 1, 7, 7, 7], "gantry tilt of 20.0 degrees and slice spacing"),
    ],
)
def test_uneven_and_tilted_series_lie_where_they_were(
    tmp_path: Path, dicom_series: Writer, degrees: float, distances: Any, message: str
) -> None:
    stored, positions, orientation = _tilted(degrees=degrees, distances=distances)
    dicom_series(tmp_path, stored, positions=positions, ImageOrientationPatient=orientation, RescaleIntercept=0)
    with pytest.warns(GeometryWarning, match=message):
        volume = _read(tmp_path)
    axes = volume.affine[:3, :3] / volume.grid.spacing
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert volume.source is not None
    assert volume.source.meta["resampled"] is True
    where = np.stack(np.meshgrid(*(np.arange(n) for n in volume.grid.shape), indexing="ij"), axis=-1)
    world = where @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    expected = 10 * (3 * -world[..., 0] + 5 * -world[..., 1] + 7 * world[..., 2]) + 1000
    in_all = (volume.array[0] != volume.array.min()).all(axis=2)  # where both neighbours of every voxel reach
    assert in_all.mean() > 0.2
    assert np.abs(volume.array[0] - expected)[in_all][:, 1:-1].max() < 1.5  # a slice apart is 210; stored as integers


def test_a_missing_slice_is_filled_from_its_neighbours(tmp_path: Path, dicom_series: Writer) -> None:
    stored = np.stack([np.full((4, 4), 100 * k, np.int16) for k in range(6)])
    paths = dicom_series(tmp_path, stored)
    paths[2].unlink()
    with pytest.warns(GeometryWarning, match="slice spacing from 2 to 4 mm"):
        volume = _read(tmp_path)
    assert volume.array[0, 0, 0].tolist() == [100.0 * k - 1024 for k in range(6)]
    assert volume.grid.spacing[2] == pytest.approx(2.0)


@settings(max_examples=20, deadline=None)
@given(
    gaps=st.lists(st.floats(0.5, 6.0), min_size=2, max_size=8),
    shift=st.tuples(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0)),
)
def test_resampling_a_ramp_gives_the_ramp(gaps: list[float], shift: tuple[float, float]) -> None:
    depths = np.concatenate([[0.0], np.cumsum(gaps)])
    origins = np.stack([shift[0] * depths / 3, shift[1] * depths / 3, depths], axis=1)
    stack = SliceStack(
        row=np.array([1.0, 0, 0]),
        column=np.array([0, 1.0, 0]),
        origins=origins,
        spacing=(0.5, 0.8),
        shape=(8, 9),
        thickness=1,
    )
    j, i = np.mgrid[:9, :8]
    slices = np.array([3 * (o[0] + 0.5 * i) + 5 * (o[1] + 0.8 * j) + 7 * o[2] for o in origins], dtype=np.float32)
    grid = regular_grid(stack)
    out = resample(stack, slices, grid=grid, fill=-1e4)
    assert out.shape == grid.shape[::-1]
    for k in range(out.shape[0]):
        depth = k * grid.step
        if depth > depths[-1] or depth not in depths:  # between slices the nearest may stand alone at the border
            continue
        reached = out[k] > -1e4
        jj, ii = np.nonzero(reached)
        world = grid.affine[:3] @ np.stack([ii, jj, np.full_like(ii, k), np.ones_like(ii)])
        assert np.allclose(out[k][reached], 3 * world[0] + 5 * world[1] + 7 * world[2], atol=1e-2)
    assert (out[0] > -1e4).sum() >= 7 * 8


def test_a_wide_gap_is_not_invented(tmp_path: Path, dicom_series: Writer) -> None:
    positions = [(0, 0, z) for z in (0, 2, 4, 6, 60, 62, 64)]
    dicom_series(tmp_path, np.zeros((7, 4, 4), np.int16), positions=positions)
    with pytest.raises(GeometryError, match=r"a gap of 54 mm between .*_004\.dcm and .*_003\.dcm"):
        _read(tmp_path)


def test_an_odd_value_that_is_not_needed_does_no_harm(tmp_path: Path, dicom_series: Writer) -> None:
    path = dicom_series(tmp_path, np.zeros((1, 4, 4), np.int16), KVP="120", PatientWeight="71.5")[0]
    path.write_bytes(path.read_bytes().replace(b"71.5", b"abcd"))
    assert _read(tmp_path).array.shape == (1, 4, 4, 1)


def test_padding_becomes_the_least_measured_value(tmp_path: Path, dicom_series: Writer) -> None:
    stored = np.full((2, 4, 4), 500, np.int16)
    stored[:, 0] = -2000
    stored[:, 1] = 24
    dicom_series(tmp_path, stored, PixelPaddingValue=-2000)
    with pytest.warns(OmlabWarning, match="8 voxels outside the field of view"):
        volume = _read(tmp_path)
    assert volume.array.min() == -1000
    assert volume.array[0, 0, :, 0].tolist() == [-1000, -1000, -524, -524]


def test_intensity_is_only_said_where_it_is_known(tmp_path: Path, dicom_series: Writer) -> None:
    stored = np.zeros((2, 4, 4), np.int16)
    dicom_series(tmp_path / "mr", stored, Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    dicom_series(tmp_path / "pt", stored, Modality="PT")
    dicom_series(tmp_path / "ct", stored, RescaleSlope=None, RescaleIntercept=None)
    dicom_series(tmp_path / "us", stored, RescaleType="US")
    assert _read(tmp_path / "mr").intensity == "mr"
    assert _read(tmp_path / "pt").intensity == "unknown"
    assert _read(tmp_path / "us").intensity == "unknown"
    with pytest.warns(OmlabWarning, match="may not be in HU"):
        assert _read(tmp_path / "ct").intensity == "unknown"


@pytest.mark.parametrize(
    ("tags", "error", "message"),
    [
        ({"ImagePositionPatient": None}, GeometryError, "no ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, GeometryError, "no ImageOrientationPatient"),
        ({"PixelSpacing": None}, GeometryError, "no PixelSpacing"),
        ({"PixelSpacing": [0.0, 1.0]}, GeometryError, "PixelSpacing of 0 x 1"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, GeometryError, "right angles"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}, GeometryError, "different orientation"),
        ({"PixelSpacing": [0.9, 0.9]}, GeometryError, "different PixelSpacing"),
        ({"Rows": 2, "Columns": 8}, InputError, "different size"),
        ({"SamplesPerPixel": 3}, InputError, "colour image"),
        ({"NumberOfFrames": 4}, GeometryError, "4 frames but does not say where"),
        ({"PixelData": b"12"}, InputError, "pixels cannot be read"),
        ({"PixelData": None}, InputError, "pixels cannot be read"),
    ],
)
def test_a_wrong_slice_is_named(
    tmp_path: Path, dicom_series: Writer, edit_dicom: Any, tags: dict[str, Any], error: type[Exception], message: str
) -> None:
    paths = dicom_series(tmp_path, np.zeros((3, 4, 4), np.int16))
    edit_dicom(paths[1], **tags)
    with pytest.raises(error, match=message) as caught:
        _read(tmp_path)
    assert paths[1].name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_files_are_named(tmp_path: Path, dicom_series: Writer) -> None:
    path = dicom_series(tmp_path, np.zeros((1, 40, 40), np.int16))[0]
    content = path.read_bytes()
    for length in (len(content) - 500, 900, 600, 300, 200, 140):
        path.write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            _read(path)
        assert path.name in str(caught.value)


def test_what_is_no_series_is_said(tmp_path: Path, dicom_series: Writer, dicom_slice: Any) -> None:
    with pytest.raises(InputError, match="does not exist"):
        _read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="empty folder"):
        _read(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError, match="holds no DICOM images"):
        _read(tmp_path)
    with pytest.raises(InputError, match="is not a DICOM file"):
        _read(tmp_path / "a.txt")
    seg = dicom_slice(
        np.zeros((4, 4)),
        position=(0, 0, 0),
        number=1,
        series="4",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4",
        Modality="SEG",
    )
    seg.save_as(tmp_path / "seg.dcm")
    with pytest.raises(InputError, match="read it as a label map"):
        _read(tmp_path / "seg.dcm")
    with pytest.raises(InputError, match="label map comes as DICOM-SEG"):
        Dicom().read(tmp_path, kind="labelmap")


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_series_are_read(tmp_path: Path, dicom_series: Writer, syntax: Any) -> None:
    stored = np.random.default_rng(1).integers(0, 2000, (2, 64, 64)).astype(np.int16)
    paths = dicom_series(tmp_path, stored)
    for path in paths:
        dataset = pydicom.dcmread(path)
        try:
            dataset.compress(syntax, generate_instance_uid=False)
        except (RuntimeError, NotImplementedError) as error:
            pytest.skip(f"no encoder for {syntax.name} is installed: {error}")
        dataset.save_as(path)
    assert np.array_equal(_read(tmp_path).array[0], stored.transpose(2, 1, 0) - 1024)


def test_a_missing_decoder_names_the_extra(
    tmp_path: Path, dicom_series: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dicom_series(tmp_path, np.zeros((1, 16, 16), np.int16))[0]
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(path)

    class Absent:
        is_available = False

    monkeypatch.setattr(dicom_pixels, "get_decoder", lambda uid: Absent())
    with pytest.raises(MissingDependencyError, match=r"RLE Lossless: install omlab-volume\[compressed\]"):
        _read(path)


def _enhanced(stored: np.ndarray, template: Dataset) -> Dataset:
    """The series as one enhanced CT object, its frames in reverse order."""
    template.SOPClassUID = template.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    template.NumberOfFrames = len(stored)
    shared, plane, measures, values = Dataset(), Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = template.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = template.PixelSpacing, template.SliceThickness
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -1024, "HU"
    shared.PlaneOrientationSequence = Sequence([plane])
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([values])
    template.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in reversed(range(len(stored))):
        groups, position = Dataset(), Dataset()
        position.ImagePositionPatient = [-10.0, -20.0, 30.0 + 2.0 * k]
        groups.PlanePositionSequence = Sequence([position])
        frames.append(groups)
    template.PerFrameFunctionalGroupsSequence = Sequence(frames)
    template.PixelData = stored[::-1].astype("<i2").tobytes()
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(template, keyword)
    return template


def test_an_enhanced_object_is_the_same_volume(
    tmp_path: Path, dicom_series: Writer, dicom_slice: Any, stored: np.ndarray
) -> None:
    dicom_series(tmp_path / "single", stored)
    template = dicom_slice(stored[0], position=(0, 0, 0), number=1, series="1.2.3.6")
    enhanced = _enhanced(stored, template)
    enhanced.save_as(tmp_path / "enhanced.dcm")
    single, volume = _read(tmp_path / "single"), _read(tmp_path / "enhanced.dcm")
    assert np.array_equal(single.array, volume.array)
    assert np.array_equal(single.affine, volume.affine)
    assert volume.intensity == "hu"


def test_the_real_series_is_resampled_upright(shared_data: Path) -> None:
    with pytest.warns(OmlabWarning) as caught:
        volume = _read(shared_data / "ct-head-dicom")
    messages = [str(warning.message) for warning in caught]
    assert any("gantry tilt of 18.5 degrees and slice spacing from 1.08 to 7 mm" in message for message in messages)
    assert volume.intensity == "hu"
    assert volume.grid.spacing == pytest.approx((0.488, 0.488, 4.0), abs=0.01)
    for number in (3, 14, 20, 28):  # a voxel of the original slice lies at the same world position
        dataset = pydicom.dcmread(shared_data / "ct-head-dicom" / f"{number:02d}.dcm")
        row, column = np.array(dataset.ImageOrientationPatient[:3]), np.array(dataset.ImageOrientationPatient[3:])
        pixels = dataset.pixel_array
        j, i = np.mgrid[60:460:5, 60:460:5]
        world = np.array(dataset.ImagePositionPatient)[:, None, None] + 0.4882812 * (
            row[:, None, None] * i + column[:, None, None] * j
        )
        points = np.stack([-world[0], -world[1], world[2], np.ones_like(world[0])]).reshape(4, -1)
        voxels = np.rint(np.linalg.solve(volume.affine, points)[:3]).astype(int)
        voxels[2] = np.clip(voxels[2], 0, volume.grid.shape[2] - 1)
        found = volume.array[0][tuple(voxels)]
        assert np.corrcoef(found, np.clip(pixels[60:460:5, 60:460:5].ravel(), -1023, None))[0, 1] > 0.93


@pytest.mark.parametrize("length", [0, 1, 100, 131, 140, 200, 300, 420, 500, -40])
@pytest.mark.parametrize("name", ["slice.dcm", "SLICE", "slice.0004"])
def test_a_slice_that_cannot_be_read_is_not_left_out(
    tmp_path: Path, dicom_series: Writer, length: int, name: str
) -> None:
    paths = dicom_series(tmp_path, np.zeros((5, 8, 8), np.int16))
    content = paths[2].read_bytes()
    for n, path in enumerate(paths):
        path.rename(tmp_path / (name.replace("4", str(n)) if "0004" in name else f"{n}{name}"))
    broken = sorted(tmp_path.iterdir())[2]
    broken.write_bytes(content[:length])
    (tmp_path / "README").write_text("a text beside them")
    with pytest.raises(InputError, match=re.escape(broken.name)) as caught:
        _read(tmp_path)
    assert "\n" not in str(caught.value)


def test_all_slices_that_cannot_be_read_are_counted(tmp_path: Path, dicom_series: Writer) -> None:
    paths = dicom_series(tmp_path, np.zeros((12, 4, 4), np.int16))
    for path in paths[1:11]:
        path.write_bytes(b"")
    with pytest.raises(
        InputError, match=r"10 files that are no readable slices: .* \(0 bytes\), .* and 2 more; export"
    ):
        _read(tmp_path)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("bare", [True, False])
def test_files_without_a_preamble_are_read(
    tmp_path: Path, dicom_series: Writer, stored: np.ndarray, implicit: bool, bare: bool
) -> None:
    paths = dicom_series(tmp_path / "whole", stored)
    (tmp_path / "old").mkdir()
    for path in paths:
        old = tmp_path / "old" / path.name
        if bare:
            dataset = Dataset(pydicom.dcmread(path))
            dataset.save_as(old, enforce_file_format=False, implicit_vr=implicit, little_endian=True)
        else:
            old.write_bytes(path.read_bytes()[132:])
        assert b"DICM" not in old.read_bytes()
    assert np.array_equal(_read(tmp_path / "old").array, _read(tmp_path / "whole").array)


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_a_header_that_claims_too_much_takes_no_memory(
    tmp_path: Path, dicom_series: Writer, edit_dicom: Any, syntax: Any
) -> None:
    path = dicom_series(tmp_path, np.zeros((1, 50, 50), np.int16))[0]
    if syntax is not None:
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path)
    edit_dicom(path, Rows=60000, Columns=60000)
    with pytest.raises(InputError, match=r"1 x 60000 x 60000 pixels \(7,200,000,000 bytes\), which a file of"):
        _read(tmp_path)


def test_slices_far_beside_each_other_take_no_memory(tmp_path: Path, dicom_series: Writer, edit_dicom: Any) -> None:
    paths = dicom_series(tmp_path, np.zeros((3, 8, 8), np.int16))
    edit_dicom(paths[1], ImagePositionPatient=[1e7, -20.0, 32.0])
    with pytest.raises(GeometryError, match="beside each other"):
        _read(tmp_path)


def test_a_gap_is_named(tmp_path: Path, dicom_series: Writer) -> None:
    paths = dicom_series(tmp_path, np.zeros((12, 4, 4), np.int16))
    for n in (3, 4, 7):
        paths[n].unlink()
    with pytest.warns(GeometryWarning, match="2 gaps with room for 3 slices filled") as caught:
        _read(tmp_path)
    text = str(caught[0].message)
    assert f"{paths[2].name} and {paths[5].name}" in text
    assert f"{paths[6].name} and {paths[8].name}" in text


def test_a_lone_slice_without_a_thickness_says_so(tmp_path: Path, dicom_series: Writer) -> None:
    path = dicom_series(tmp_path, np.zeros((1, 4, 5), np.int16), SliceThickness=None)[0]
    with pytest.warns(GeometryWarning, match="does not say how thick"):
        assert _read(path).grid.spacing == pytest.approx((0.5, 0.8, 1.0))


def test_several_slices_need_no_thickness(tmp_path: Path, dicom_series: Writer) -> None:
    dicom_series(tmp_path, np.zeros((3, 4, 5), np.int16), SliceThickness=None)
    assert _read(tmp_path).grid.spacing == pytest.approx((0.5, 0.8, 2.0))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_slice_is_one_sentence(tmp_path: Path, dicom_series: Writer, data: st.DataObject) -> None:
    if not (tmp_path / "whole").exists():
        dicom_series(tmp_path / "whole", np.zeros((3, 4, 4), np.int16), PixelPaddingValue=-2000, RescaleType="HU")
    paths = sorted((tmp_path / "whole").iterdir())
    content = bytearray(paths[1].read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").mkdir(exist_ok=True)
    for path in paths:
        (tmp_path / "damaged" / path.name).write_bytes(content if path == paths[1] else path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)
        assert "\n" not in _said_of(tmp_path / "damaged")


def _said_of(folder: Path) -> str:
    try:
        _read(folder)
    except OmlabError as error:
        return str(error)
    return ""
