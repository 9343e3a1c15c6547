"""DICOM structured reports, read back with highdicom."""

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

import omlab
from omlab.errors import InputError
from omlab_measure.dicom_sr import DicomSr
from omlab_measure.measuring import measure
from omlab_measure.structures import UNITS
from omlab_volume.volume import Code, Label, LabelMap

SR = "1.2.840.10008.5.1.4.1.1.88.34"


def write_series(folder, *, slices=6):
    folder.mkdir()
    for k in range(slices):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        pixels = np.full((12, 10), 1000 + k, "<i2")
        for keyword, value in {
            "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID, "Modality": "CT",
            "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.6", "FrameOfReferenceUID": "1.2.3.5",
            "PatientID": "phantom", "PatientName": "Phantom^Ann", "InstanceNumber": k,
            "ImagePositionPatient": [0.0, 0.0, 2.0 * k], "ImageOrientationPatient": [1.0, 0, 0, 0, 1.0, 0],
            "PixelSpacing": [0.8, 0.5], "SliceThickness": 2.0, "Rows": 12, "Columns": 10, "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
            "PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": -1024, "PixelData": pixels.tobytes(),
        }.items():  # fmt: skip
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"{k}.dcm")


@pytest.fixture
def scan(tmp_path):
    write_series(tmp_path / "ct")
    return omlab.read(tmp_path / "ct", kind="volume")


def labelled(scan):
    array = np.zeros(scan.grid.shape, np.uint8)
    array[2:6, 3:8, 1:4] = 1
    array[7:9, 2:5, 2:6] = 3
    liver = Label(value=1, name="liver", code=Code(value="10200004", scheme="SCT", meaning="Liver"))
    labels = (liver, Label(value=3, name="ein \\ Herd \N{GREEK SMALL LETTER ALPHA}"))
    return LabelMap(array=array, affine=scan.affine, labels=labels, source=scan.source)


def test_a_report_of_a_segmentation_refers_to_its_segments(scan, tmp_path):
    omlab.write(labelled(scan), tmp_path / "seg.dcm", inputs={"volume": scan})
    segmentation = omlab.read(tmp_path / "seg.dcm", kind="labelmap")
    found = measure(segmentation, scan)
    omlab.write(found, tmp_path / "sr.dcm", inputs={"labelmap": segmentation, "volume": scan})
    report = hd.sr.srread(tmp_path / "sr.dcm")
    assert (report.SOPClassUID, report.PatientID, report.StudyInstanceUID) == (SR, "phantom", "1.2.3.4")
    series = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert "1.2.3.6" in {row.SeriesInstanceUID for row in series}
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 2
    header = pydicom.dcmread(tmp_path / "seg.dcm")
    for number, (group, entry) in enumerate(zip(groups, found.structures, strict=True), start=1):
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == header.SOPInstanceUID
        assert segment[0].ReferencedSOPSequence[0].ReferencedSegmentNumber == number  # not the label's value
        values = {one.name.value: (one.value, one.unit.value) for one in group.get_measurements()}
        defined = [name for name, value in entry.figures.items() if value is not None]
        assert len(values) == len(defined)  # no two figures have one code
        assert values["YEKZ"] == (pytest.approx(entry.figures["volume_ml"], rel=1e-6), "mL")
        assert values["103339001"] == (pytest.approx(entry.figures["long_axis_mm"], rel=1e-6), "mm")
        assert values["Q4LE"] == (pytest.approx(entry.figures["mean"], rel=1e-6), "[hnsf'U]")
    assert (groups[0].finding_type.value, groups[0].finding_type.scheme_designator) == ("10200004", "SCT")
    assert (groups[1].finding_type.value, groups[1].finding_type.scheme_designator) == ("label-3", "99OMLAB")
    assert groups[1].tracking_identifier == "ein / Herd \N{GREEK SMALL LETTER ALPHA}"


def test_a_report_of_a_label_map_refers_to_the_series(scan, tmp_path):
    labelmap = labelled(scan)
    omlab.write(measure(labelmap, scan), tmp_path / "sr.dcm", inputs={"labelmap": labelmap, "volume": scan})
    report = hd.sr.srread(tmp_path / "sr.dcm")
    assert len(report.content.get_image_measurement_groups()) == 2
    (series,) = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert len(series.ReferencedSOPSequence) == 6


def test_it_is_written_beside_what_was_read_from_dicom(scan, tmp_path, run):
    omlab.write(labelled(scan), tmp_path / "seg.nii.gz")
    status, _, err = run("measure", "seg.nii.gz", "--image", "ct", "-o", "report.json")
    assert status == 0, err
    assert hd.sr.srread(tmp_path / "report.dcm").SOPClassUID == SR
    assert run("measure", "seg.nii.gz", "--image", "ct", "-o", "alone.dcm")[0] == 0
    assert not (tmp_path / "alone.json").exists()
    omlab.write(labelled(scan), tmp_path / "seg.dcm", inputs={"volume": scan})
    status, _, err = run("measure", "seg.dcm", "-o", "out")
    assert status == 0, err
    assert {"seg.json", "seg.dcm"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_without_dicom_there_is_nothing_to_refer_to(scan, tmp_path):
    with pytest.raises(InputError, match="must refer to a DICOM series or segmentation"):
        DicomSr().write(measure(labelled(scan)), tmp_path / "sr.dcm", inputs={})
    labelmap = labelled(scan)
    (tmp_path / "ct" / "3.dcm").unlink()
    with pytest.raises(InputError, match=r"3\.dcm"):
        DicomSr().write(measure(labelmap, scan), tmp_path / "sr.dcm", inputs={"volume": scan})
    assert not (tmp_path / "sr.dcm").exists()


def test_every_figure_has_a_unit():
    assert set(UNITS.values()) <= {"", "ml", "mm", "mm2", "1/mm", "bit", "intensity"}
