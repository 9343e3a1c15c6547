"""DICOM-SEG: every label lies in the world where the label map says, for every order and direction of the axes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from omlab.errors import GeometryError, InputError, OmlabWarning, OutputError
from omlab_volume.io.dicom import Dicom
from omlab_volume.io.dicom_seg import DicomLabelmapSeg, DicomSeg
from omlab_volume.io.nifti import Nifti
from omlab_volume.volume import Code, Label, LabelMap, Source, Volume

Writer = Callable[..., list[Path]]

LABELS = (
    Label(value=2, name="liver", colour=(200, 30, 40), code=Code(value="10200004", scheme="SCT", meaning="Liver")),
    Label(value=5, name="a lesion that has no code", colour=(10, 250, 20)),
    Label(value=9, name="absent", colour=(1, 2, 3)),
)


@pytest.fixture
def scan(tmp_path: Path, dicom_series: Writer) -> Volume:
    """A volume read from an oblique series."""
    row, column = np.array([0.8, 0.6, 0.0]), np.array([0.36, -0.48, 0.8])
    normal = np.cross(row, column)
    positions = [np.array([-12.5, 7.25, 30.0]) + 2.5 * k * normal for k in range(6)]
    dicom_series(
        tmp_path / "series", np.zeros((6, 8, 10), np.int16), positions=positions,
        ImageOrientationPatient=[*row, *column], PatientName="Phantom^Ann", StudyDate="20200102",
    )  # fmt: skip
    return Dicom().read(tmp_path / "series", kind="volume")


def _labelmap(scan: Volume) -> LabelMap:
    array = np.zeros(scan.grid.shape, np.uint8)
    array[1:4, 2:7, 2:4] = 2
    array[7:9, 1:3, 4] = 5
    array[6, 6, 1] = 5
    return LabelMap(array=array, affine=scan.affine, labels=LABELS, source=scan.source)


def _turned(labelmap: LabelMap, order: tuple[int, ...], flips: tuple[int, ...]) -> LabelMap:
    """The same label map in the world with its array's axes in another order and direction."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        turn[old, new] = flip
        if flip < 0:
            turn[old, 3] = labelmap.array.shape[old] - 1
    array = labelmap.array.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    return LabelMap(array=array, affine=labelmap.affine @ turn, labels=labelmap.labels, source=labelmap.source)


def _centroids_by_highdicom(path: Path) -> dict[str, np.ndarray]:
    """World centroids (LPS mm) by segment label, from what the SEG says and nothing of ours."""
    segmentation = hd.seg.segread(path)
    found = {}
    for segment in segmentation.segment_numbers:
        volume = segmentation.get_volume(segment_numbers=[segment], combine_segments=True, relabel=True)
        index = np.argwhere(volume.array > 0).mean(axis=0)
        found[segmentation.get_segment_description(segment).SegmentLabel] = volume.map_indices_to_reference(
            index[None]
        )[0]
    return found


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product((1, -1), repeat=3)))
def test_organs_lie_where_nifti_says(
    tmp_path: Path, scan: Volume, order: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    labelmap = _turned(_labelmap(scan), order, flips)
    with pytest.warns(OmlabWarning, match="1 empty segments were left out: absent"):
        DicomSeg().write(labelmap, tmp_path / "seg.dcm")
    Nifti().write(labelmap, tmp_path / "seg.nii.gz")
    image = nib.load(tmp_path / "seg.nii.gz")
    found = _centroids_by_highdicom(tmp_path / "seg.dcm")
    for label in LABELS[:2]:
        index = np.argwhere(np.asarray(image.dataobj) == label.value).mean(axis=0)
        ras = image.affine @ [*index, 1.0]
        assert np.allclose(found[label.name], [-ras[0], -ras[1], ras[2]], atol=1e-3)
    again = DicomSeg().read(tmp_path / "seg.dcm", kind="labelmap")
    assert again.same_grid(labelmap)
    assert np.array_equal(again.array, labelmap.array)


def test_names_codes_colours_and_references(tmp_path: Path, scan: Volume) -> None:
    with pytest.warns(OmlabWarning, match="empty segments"):
        DicomSeg().write(_labelmap(scan), tmp_path / "seg.dcm")
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    assert scan.source is not None
    assert dataset.FrameOfReferenceUID == scan.source.meta["frame_of_reference_uid"]
    assert dataset.StudyInstanceUID == scan.source.meta["study_uid"]
    assert (dataset.PatientName, dataset.StudyDate) == ("Phantom^Ann", "20200102")
    referenced = dataset.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == scan.source.meta["series_uid"]
    sources = {pydicom.dcmread(path).SOPInstanceUID for path in scan.source.paths}
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == sources
    liver, lesion = dataset.SegmentSequence
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert lesion.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99OMLAB"
    assert liver.SegmentAlgorithmName == "omlab"
    again = DicomSeg().read(tmp_path / "seg.dcm", kind="labelmap")
    assert [(label.value, label.name, label.code) for label in again.labels] == [
        (label.value, label.name, label.code) for label in LABELS[:2]
    ]
    for label, wanted in zip(again.labels, LABELS, strict=False):
        assert label.colour is not None
        assert wanted.colour is not None
        assert np.abs(np.subtract(label.colour, wanted.colour)).max() <= 2


def test_the_resampled_tilted_series(tmp_path: Path, shared_data: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)  # tested in test_dicom
        scan = Dicom().read(shared_data / "ct-head-dicom", kind="volume")
    array = np.zeros(scan.grid.shape, np.uint8)
    array[100:160, 300:340, 5:9] = 1
    array[300:320, 200:260, 20:30] = 2
    labelmap = LabelMap(array=array, affine=scan.affine, source=scan.source)
    DicomSeg().write(labelmap, tmp_path / "seg.dcm")
    found = _centroids_by_highdicom(tmp_path / "seg.dcm")
    for value in (1, 2):
        ras = scan.affine @ [*np.argwhere(array == value).mean(axis=0), 1.0]
        assert np.allclose(found[f"label {value}"], [-ras[0], -ras[1], ras[2]], atol=1e-2)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    assert len(dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 28
    again = DicomSeg().read(tmp_path / "seg.dcm", kind="labelmap")
    assert again.same_grid(labelmap)
    assert np.array_equal(again.array, array)


def test_nothing_found_is_one_empty_segment(tmp_path: Path, scan: Volume) -> None:
    empty = LabelMap(
        array=np.zeros(scan.grid.shape, np.uint8), affine=scan.affine, labels=LABELS[:1], source=scan.source
    )
    with pytest.warns(OmlabWarning, match="no voxel has a label"):
        DicomSeg().write(empty, tmp_path / "seg.dcm")
    again = DicomSeg().read(tmp_path / "seg.dcm", kind="labelmap")
    assert again.same_grid(empty)
    assert not again.array.any()
    assert [label.name for label in again.labels] == ["liver"]


def test_a_foreign_file_is_read_on_the_grid_of_its_frames(tmp_path: Path, scan: Volume) -> None:
    labelmap = _labelmap(scan)
    with pytest.warns(OmlabWarning, match="empty segments"):
        DicomSeg().write(labelmap, tmp_path / "seg.dcm")
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    dataset.remove_private_tags()
    for segment in dataset.SegmentSequence:
        del segment.SegmentDescription
    dataset.save_as(tmp_path / "foreign.dcm")
    again = DicomSeg().read(tmp_path / "foreign.dcm", kind="labelmap")
    assert again.array.shape == (10, 8, 4)  # slices 1 to 4 have voxels
    for number, value in ((1, 2), (2, 5)):
        here = again.affine @ [*np.argwhere(again.array == number).mean(axis=0), 1.0]
        there = labelmap.affine @ [*np.argwhere(labelmap.array == value).mean(axis=0), 1.0]
        assert np.allclose(here, there, atol=1e-3)


def test_more_labels_than_a_byte_holds(tmp_path: Path, scan: Volume) -> None:
    array = np.zeros(scan.grid.shape, np.uint16)
    array[0, 0, 0], array[1, 1, 1] = 300, 65535
    DicomSeg().write(LabelMap(array=array, affine=scan.affine, source=scan.source), tmp_path / "seg.dcm")
    assert np.array_equal(DicomSeg().read(tmp_path / "seg.dcm", kind="labelmap").array, array)


@pytest.mark.parametrize("values", [(2, 5), (5, 2), (1, 2), (300, 65535)])
def test_one_number_a_voxel_reads_back_and_is_read_by_others(
    tmp_path: Path, scan: Volume, values: tuple[int, int]
) -> None:
    array = np.zeros(scan.grid.shape, np.uint16 if max(values) > 255 else np.uint8)
    array[1:4, 2:7, 2:4], array[7:9, 1:3, 4] = values
    labels = [Label(value=value, name=f"organ {value}", colour=(10, 250, 20)) for value in sorted(values)]
    labelmap = LabelMap(array=array, affine=scan.affine, labels=labels, source=scan.source)
    DicomLabelmapSeg().write(labelmap, tmp_path / "seg.dcm")
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (dataset.SegmentationType, dataset.file_meta.TransferSyntaxUID) == ("LABELMAP", RLELossless)
    again = DicomSeg().read(tmp_path / "seg.dcm", kind="labelmap")
    assert again.same_grid(labelmap)
    assert np.array_equal(again.array, array)
    assert [(label.value, label.name) for label in again.labels] == [(label.value, label.name) for label in labels]
    found = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    assert set(np.unique(found.array)) == {0, *values}  # a viewer shows the values themselves


def test_a_number_without_a_segment_stays_as_it_is(tmp_path: Path, scan: Volume, edit_dicom: Any) -> None:
    labelmap = _labelmap(scan)
    labels = [label for label in LABELS if label.name != "absent"]
    DicomLabelmapSeg().write(
        LabelMap(array=labelmap.array, affine=scan.affine, labels=labels, source=scan.source), tmp_path / "seg.dcm"
    )
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    edit_dicom(tmp_path / "seg.dcm", SegmentSequence=[dataset.SegmentSequence[0]])
    assert np.array_equal(DicomSeg().read(tmp_path / "seg.dcm", kind="labelmap").array, labelmap.array)


def test_what_cannot_be_written_is_said(tmp_path: Path, scan: Volume) -> None:
    labelmap = _labelmap(scan)
    cases: list[tuple[Any, type[Exception], str]] = [
        (LabelMap(array=labelmap.array, affine=scan.affine), InputError, "its source is unknown"),
        (
            LabelMap(array=labelmap.array, affine=scan.affine, source=Source(format="nifti", paths=(tmp_path,))),
            InputError,
            "made from nifti",
        ),
        (
            LabelMap(
                array=labelmap.array,
                affine=scan.affine @ np.array([[1, 0.2, 0, 0], *np.eye(4)[1:]]),
                source=scan.source,
            ),
            GeometryError,
            "sheared",
        ),
        (scan, OutputError, "not a 'volume'"),
    ]
    for payload, error, message in cases:
        with pytest.raises(error, match=message):
            DicomSeg().write(payload, tmp_path / "seg.dcm")
        assert not (tmp_path / "seg.dcm").exists()
    assert scan.source is not None
    scan.source.paths[0].unlink()
    with pytest.raises(InputError, match="does not exist"):
        DicomSeg().write(labelmap, tmp_path / "seg.dcm")


def test_what_is_no_segmentation_is_said(tmp_path: Path, scan: Volume) -> None:
    assert scan.source is not None
    with pytest.raises(InputError, match="is no DICOM-SEG but modality CT"):
        DicomSeg().read(scan.source.paths[0], kind="labelmap")
    (tmp_path / "text.dcm").write_text("text")
    with pytest.raises(InputError, match="is not a DICOM file"):
        DicomSeg().read(tmp_path / "text.dcm", kind="labelmap")
    with pytest.raises(InputError, match="not a 'volume'"):
        DicomSeg().read(tmp_path / "text.dcm", kind="volume")


def test_the_series_is_that_of_the_input_on_its_grid(tmp_path: Path, scan: Volume) -> None:
    labelmap = _labelmap(scan)
    orphan = LabelMap(array=labelmap.array, affine=labelmap.affine, labels=LABELS[:2])
    other = Volume(array=scan.array, affine=np.eye(4), source=Source(format="nifti", paths=(tmp_path / "x.nii",)))
    DicomSeg().write(orphan, tmp_path / "seg.dcm", inputs={"other": other, "volume": scan})
    assert scan.source is not None
    assert pydicom.dcmread(tmp_path / "seg.dcm").StudyInstanceUID == scan.source.meta["study_uid"]


@pytest.mark.parametrize(
    ("name", "read"), [("肝臓", "肝臓"), ("a\\b\x07c", "a/b c"), ("", "label 1"), ("x" * 300, "x" * 64)]
)
def test_names_of_any_kind_survive(tmp_path: Path, scan: Volume, name: str, read: str) -> None:
    labelmap = LabelMap(
        array=np.ones(scan.grid.shape, np.uint8),
        affine=scan.affine,
        labels=(Label(value=1, name=name),),
        source=scan.source,
    )
    DicomSeg().write(labelmap, tmp_path / "seg.dcm")
    assert [label.name for label in DicomSeg().read(tmp_path / "seg.dcm", kind="labelmap").labels] == [read]


def test_what_the_standard_forbids_is_one_sentence(tmp_path: Path, scan: Volume, edit_dicom: Any) -> None:
    assert scan.source is not None
    edit_dicom(scan.source.paths[1], StudyInstanceUID="1.2.9")
    labelmap = _labelmap(scan)
    whole = LabelMap(array=labelmap.array, affine=scan.affine, labels=LABELS[:2], source=scan.source)
    with pytest.raises(OutputError, match=r"seg\.dcm cannot be written as DICOM-SEG: .*; write NIfTI\.$") as caught:
        DicomSeg().write(whole, tmp_path / "seg.dcm")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "seg.dcm").exists()
