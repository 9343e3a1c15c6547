"""`omlab measure` from the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import omlab
from omlab_measure.jobs import measure_files
from omlab_measure.measurements import Measurements
from omlab_volume.io.nifti import Nifti
from omlab_volume.volume import LabelMap


def rows_of(path):
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_one_label_map_becomes_one_file(files, run):
    status, out, err = run(
        "measure", "segs/a.nii.gz", "--image", "images/a.nii.gz", "--unit", "HU", "-o", "report.json"
    )
    assert status == 0, err
    assert out.splitlines()[0].split() == ["structure", "volume", "(ml)", "axes", "(mm)", "mean", "HU"]
    found = omlab.read("report.json", kind="measurements")
    assert isinstance(found, Measurements)
    assert (found.labelmap, found.image, found.intensity_unit) == ("a.nii.gz", "a.nii.gz", "HU")
    assert [(entry.name, entry.value) for entry in found.structures] == [("liver", 1), ("=spleen", 3)]
    stored = json.loads(Path("report.json").read_text())
    assert (stored["units"]["volume_ml"], stored["units"]["mean"], stored["units"]["sphericity"]) == ("ml", "HU", "")
    assert stored["structures"][0]["code"] == {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}
    assert {path.name for path in files.iterdir()} >= {"report.json", "report.json.run.json"}
    status, out, err = run(
        "measure", "segs/a.nii.gz", "--image", "images/a.nii.gz", "--unit", "HU", "-o", "report.json"
    )
    assert status == 0
    assert "Nothing to do" in err
    assert "liver" in out


def test_a_folder_becomes_a_run_with_a_table_and_a_page(files, run):
    status, out, err = run("measure", "segs", "--image", "images", "-o", "all")
    assert status == 0, err
    assert "liver" in out
    assert {path.name for path in Path("all").iterdir()} == {
        "a.json", "a.png", "b.json", "b.png",
        "measurements.csv", "report.html", "report.json", "run.json", "cases.jsonl",
    }  # fmt: skip
    rows = rows_of("all/measurements.csv")
    assert [(row["case"], row["name"]) for row in rows] == [
        ("a", "liver"), ("a", "'=spleen"), ("b", "liver"), ("b", "'=spleen"),
    ]  # fmt: skip
    alone = omlab.read("all/a.json", kind="measurements").structures[0].figures
    assert float(rows[0]["volume_ml"]) == alone["volume_ml"]
    page = Path("all/report.html").read_text()
    assert page.count("data:image/png") >= 2
    assert "RECIST" in page
    volumes = [metric for metric in json.loads(Path("all/report.json").read_text())["metrics"] if metric["n"] == 2]
    assert [metric["label"] for metric in volumes] == ["liver", "=spleen"]


def test_a_second_start_does_what_is_missing(files, draw):
    measure_files("segs", images="images", output="all")
    before = Path("all/a.json").stat().st_mtime_ns
    Nifti().write(draw(2)[0], Path("segs/b.nii.gz"), inputs={})
    outcome = measure_files("segs", images="images", output="all")
    assert outcome.counts == (2, 0)
    assert Path("all/a.json").stat().st_mtime_ns == before
    assert measure_files("segs", images="images", output="all").was_complete


def test_all_cases_go_into_one_table(files, run):
    Path("list.csv").write_text(
        "id,labelmap,volume\none,segs/a.nii.gz,images/a.nii.gz\ntwo,segs/b.nii.gz,images/b.nii.gz\n"
    )
    status, _, err = run("measure", "--data", "cases:list.csv", "-o", "all.csv")
    assert status == 0, err
    rows = rows_of("all.csv")
    assert [row["case"] for row in rows] == ["one", "one", "two", "two"]
    assert all(row["intensity_unit"] == "" and float(row["mean"]) for row in rows)  # NIfTI does not say it
    assert run("measure", "--data", "cases:list.csv", "-o", "all.csv")[0] == 0
    status, _, err = run("measure", "--data", "cases:list.csv", "-o", "all.csv", "--bin-width", "5")
    assert status == 2
    assert "another request" in err


def test_images_of_nnunet_belong_to_labels_of_the_same_name(files):
    for path in list(Path("images").iterdir()):
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    outcome = measure_files("segs", images="images", output="all")
    assert [row["image"] for record in outcome for row in record.values["rows"]] == ["a_0000.nii.gz", "b_0000.nii.gz"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("segs/nothing.nii.gz",), "segs/nothing.nii.gz does not exist"),
        (("images/a.nii.gz",), "labels are 0 and above: is it an image?"),
        (("empty.nii.gz",), "has no label in any voxel"),
        (("list.csv",), "a labelmap is needed"),
        (("other.nii.gz", "--image", "images/a.nii.gz"), "does not lie on the grid of a.nii.gz"),
        (("segs", "--image", "images/a.nii.gz"), "There is no image for the label map 'b'"),
        (("segs", "-o", "one.json"), "2 inputs cannot go into one file"),
        (("segs/a.nii.gz", "-o", "report.dcm"), "must refer to a DICOM series"),
        (("segs/a.nii.gz", "-o", "report.nii.gz"), "cannot be written to report.nii.gz"),
        (("segs/a.nii.gz", "--data", "cases:list.csv"), "not both"),
        (("--data", "cases:list.csv", "--image", "images"), "not both"),
        (("segs/a.nii.gz", "--image", "images/a.nii.gz", "--channel", "2"), "has 1 channels"),
        (("--image", "images/a.nii.gz"), "Nothing to do"),
    ],
)
def test_a_users_mistake_is_one_sentence(files, run, arguments, words):
    empty = LabelMap(array=np.zeros((3, 3, 3), np.uint8), affine=np.eye(4))
    Nifti().write(empty, Path("empty.nii.gz"), inputs={})
    Nifti().write(LabelMap(array=np.ones((3, 3, 3), np.uint8), affine=np.eye(4)), Path("other.nii.gz"), inputs={})
    Path("list.csv").write_text("id,labelmap\none,segs/a.nii.gz\n")
    before = set(files.rglob("*"))
    status, _, err = run("measure", *arguments)
    assert status in (1, 2)  # a file that is wrong, or what was asked for
    assert words in " ".join(err.split())
    assert set(files.rglob("*")) <= before | {files / "omlab-runs", files / "cache"}
