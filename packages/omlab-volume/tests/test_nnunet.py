"""Folders in nnU-Net's layout: what dataset.json says, how cases are found and split, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import omlab
from omlab.datasets import open_dataset
from omlab.errors import OmlabError, UsageError
from omlab_volume.io.nifti import Nifti
from omlab_volume.volume import LabelMap, Volume

AFFINE = np.diag([2.0, 2, 3, 1])
V1 = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "spleen"}}
V2 = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "spleen": 2}, "file_ending": ".nii.gz"}
TWO = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "tumour": 1}, "file_ending": ".nii.gz"}
REGIONS = {
    **TWO,
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4},
    "regions_class_order": [1, 2, 3],
}

Make = Callable[..., Any]


def image(path: Path, value: float, *, channels: int = 1, shape: tuple[int, int, int] = (4, 5, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((channels, *shape), value, np.float32) + np.arange(channels)[:, None, None, None]
    Nifti().write(Volume(array=array, affine=AFFINE), path, inputs={})


def label(path: Path, *values: int, shape: tuple[int, int, int] = (4, 5, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, np.uint8)
    array.ravel()[: len(values)] = values
    Nifti().write(LabelMap(array=array, affine=AFFINE), path, inputs={})


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a folder and open it: `make(description, train=6, further=2, form="channels", seed=1)`."""

    def run(
        description: Mapping[str, Any] | str,
        *,
        train: int = 6,
        further: int = 0,
        further_labels: bool = True,
        form: str = "channels",
        values: tuple[int, ...] = (1,),
        **settings: Any,
    ) -> Any:
        root = tmp_path / "Dataset001_Toy"
        root.mkdir(exist_ok=True)
        text = description if isinstance(description, str) else json.dumps(description)
        (root / "dataset.json").write_text(text)
        channels = 1 if isinstance(description, str) else len(description.get("channel_names", V1["modality"]))
        for part, count in (("Tr", train), ("Ts", further)):
            for n in range(count):
                id = f"{'case' if part == 'Tr' else 'new'}_{n:03d}"
                if form == "decathlon":
                    image(root / f"images{part}" / f"{id}.nii.gz", n, channels=channels)
                else:
                    for channel in range(channels):
                        image(root / f"images{part}" / f"{id}_{channel:04d}.nii.gz", 100 * n + channel)
                if part == "Tr" or further_labels:
                    label(root / f"labels{part}" / f"{id}.nii.gz", *values)
        return open_dataset(f"nnunet:{root}", root=None, settings=settings).dataset

    return run


def ids(data: Any, split: str) -> list[str]:
    return [case.id for case in data.cases(split)]


def refused(action: Callable[[], object], *words: str) -> None:
    with pytest.raises(OmlabError) as caught:
        action()
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(("description", "form"), [(V1, "channels"), (V1, "decathlon"), (V2, "channels")])
def test_the_forms_are_the_same_data(make: Make, description: dict[str, Any], form: str) -> None:
    data = make(description, form=form, values=(1, 2))
    assert list(data.splits()) == ["train", "val", "test"]
    about = data.about("train")
    assert about.classes == {1: "liver", 2: "spleen"}
    assert (about.inputs, about.target, about.task) == ({"volume": "volume"}, "labelmap", "segmentation")
    assert (about.channels, about.regions, about.groups, about.cases) == ({"volume": ("CT",)}, {}, None, 4)
    sample = data.cases("train")[0].load()
    assert sample.inputs["volume"].intensity == "hu"
    assert sample.target.present() == {1: "liver", 2: "spleen"}
    assert list(data.verify()) == []


@pytest.mark.parametrize("form", ["channels", "decathlon"])
def test_channels_regions_and_ignored_values(make: Make, form: str) -> None:
    data = make(REGIONS, form=form, values=(1, 3, 4))
    about = data.about("train")
    assert about.channels == {"volume": ("T1", "T2")}
    assert about.classes == {1: "label 1", 2: "label 2", 3: "enhancing"}
    assert about.regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert about.ignored == (4,)
    sample = data.cases("train")[0].load()
    assert sample.ignored == (4,)
    volume = sample.inputs["volume"]
    assert volume.channels == 2
    assert volume.array[1].max() == volume.array[0].max() + 1
    assert volume.intensity == "unknown"
    assert [problem for problem in data.verify() if "same content" not in problem] == []


def test_further_cases_with_labels_are_the_test_split(make: Make) -> None:
    data = make(V2, further=2)
    assert ids(data, "test") == ["new_000", "new_001"]
    assert data.about("train").cases + data.about("val").cases == 6
    assert data.cases("test")[0].load().target is not None


def test_further_cases_without_labels_are_predicted_only(make: Make) -> None:
    data = make(V2, further=2, further_labels=False)
    assert list(data.splits()) == ["train", "val", "test", "unlabelled"]
    assert ids(data, "unlabelled") == ["new_000", "new_001"]
    assert data.about("unlabelled").target == ""
    assert data.cases("unlabelled")[0].load().target is None


def test_folds_are_those_of_splits_final(make: Make, tmp_path: Path) -> None:
    folds = [
        {"train": ["case_000", "case_001", "case_002"], "val": ["case_003", "case_004", "case_005"]},
        {"train": ["case_005", "case_000"], "val": ["case_001"]},
    ]
    file = tmp_path / "Dataset001_Toy" / "splits_final.json"
    make(V2)
    file.write_text(json.dumps(folds))
    assert ids(make(V2, fold=0), "val") == ["case_003", "case_004", "case_005"]
    data = make(V2, fold=1)
    assert list(data.splits()) == ["train", "val"]
    assert (ids(data, "train"), ids(data, "val")) == (["case_000", "case_005"], ["case_001"])
    assert "fold 1: case_002, case_003, case_004 are in neither part" in data.verify()[0]
    refused(make(V2, fold=2).splits, "fold is 2", "last of the 2 folds", "is 1")
    file.write_text(json.dumps([{"train": ["case_00"], "val": []}]))
    refused(make(V2).splits, "fold 0 names 'case_00'", "did you mean 'case_0")
    file.write_text(json.dumps([{"train": ["case_000"], "val": ["case_000"]}]))
    refused(make(V2).splits, "'case_000' in train and in val")
    file.write_text("{}")
    refused(make(V2).splits, "splits_final.json is no list of folds")


def test_a_patient_is_found_in_the_ids_and_never_torn(make: Make, tmp_path: Path) -> None:
    data = make(V2, train=8, group=r"_00(\d)", val=0.3)
    sides = {split: {case.group for case in data.cases(split)} for split in data.splits()}
    assert sum(len(groups) for groups in sides.values()) == 8
    pairs = make(V2, train=8, group=r"^case_0", test=0.5)
    assert ids(pairs, "train") == [f"case_{n:03d}" for n in range(8)]  # one patient: nothing is left to test on
    refused(lambda: make(V2, group="("), "no regular expression")
    refused(make(V2, group="patient").splits, "does not fit the setting group")
    folds = [{"train": ["case_000"], "val": ["case_001"]}]
    (tmp_path / "Dataset001_Toy" / "splits_final.json").write_text(json.dumps(folds))
    torn = make(V2, group="^case")
    refused(lambda: torn.cases("train"), "patients lie in several splits: 'case' (train, val)")
    assert any("'case' lies in train and val" in problem for problem in torn.verify())


def test_listed_files_are_found_where_they_are(make: Make, tmp_path: Path) -> None:
    root = tmp_path / "Dataset001_Toy"
    image(root / "scans" / "a.nii.gz", 1)
    label(root / "masks" / "a.nii.gz", 1)
    listed = {"a": {"images": ["scans/a.nii.gz"], "label": "masks/a.nii.gz"}}
    data = make({**V2, "dataset": listed}, train=0)
    assert ids(data, "train") == ["a"]
    assert data.cases("train")[0].load().target.present() == {1: "liver"}


def test_the_digest_follows_files_and_description(make: Make, tmp_path: Path) -> None:
    first = make(V2).digest("train")
    assert make(V2).digest("train") == first
    assert make({**V2, "labels": {**V2["labels"], "kidney": 3}}).digest("train") != first
    data = make(V2)
    image(data.cases("train")[0].files["volume"][0], 7, shape=(9, 9, 9))
    assert data.digest("train") != first


BROKEN = [
    ("{", ["dataset.json is not JSON"]),
    ("[]", ["not a JSON object"]),
    ({**V2, "channel_names": {}}, ["'channel_names': names and numbers are needed"]),
    ({**V2, "channel_names": {"1": "CT"}}, ["numbered 1, not 0"]),
    ({"labels": V2["labels"]}, ["'channel_names': it is missing", "'modality'"]),
    ({"channel_names": {"0": "CT"}}, ["'labels': it is missing"]),
    ({**V2, "labels": {"background": 0}}, ["no label beside the background"]),
    ({**V2, "labels": {"liver": "one"}}, ["'one' is no value of a label"]),
    ({**V2, "labels": {"liver": -1}}, ["-1 is no value"]),
    ({**V2, "labels": {"liver": 1, "spleen": 1}}, ["several names have the same value"]),
    ({**V1, "labels": {"1": "liver", "2": "liver"}}, ["'liver' is there twice"]),
    ({**V2, "file_ending": 3}, ["3 is no ending"]),
    ({**V2, "dataset": {"a": {}}}, ["'dataset': each case has 'images'"]),
]


@pytest.mark.parametrize(("description", "words"), BROKEN)
def test_a_broken_description_is_one_sentence(make: Make, description: Any, words: list[str]) -> None:
    refused(make(description, train=1).splits, "dataset.json", *words)


def test_missing_channels_and_labels_are_counted_and_named(make: Make, tmp_path: Path) -> None:
    data = make(TWO, train=8)
    root = tmp_path / "Dataset001_Toy"
    for n in range(6):
        (root / "imagesTr" / f"case_{n:03d}_0001.nii.gz").unlink()
    (root / "labelsTr" / "case_007.nii.gz").unlink()
    refused(data.prepare, "7 files are missing", "case_000_0001.nii.gz", "...")
    assert "7 files are missing" in data.verify()[0]
    extra = make({**V2, "numTraining": 9}, train=2)
    image(root / "imagesTr" / "case_000_0003.nii.gz", 1)
    problems = extra.verify()
    assert any("numTraining 9, but there are 8 cases" in problem for problem in problems)
    assert any("names 1 channels" in problem and "case_000_0003" in problem for problem in problems)


def test_two_files_of_one_name_are_told(make: Make, tmp_path: Path) -> None:
    data = make(V2, train=3)
    labels = tmp_path / "Dataset001_Toy" / "labelsTr"
    label(labels / "case_001.nii", 1)
    (labels / "case_001.json").write_text("{}")
    label(labels / "other.nii", 1)
    [problem] = [problem for problem in data.verify() if "same content" not in problem]
    assert "Beside files of the same name ending in .nii.gz, which are the ones read," in problem
    assert f"stand {labels / 'case_001.nii'}: take out" in problem


def test_values_and_channels_that_are_not_named_are_told_by_case(make: Make, tmp_path: Path) -> None:
    data = make(V2, train=3)
    label(tmp_path / "Dataset001_Toy" / "labelsTr" / "case_001.nii.gz", 1, 9)
    label(tmp_path / "Dataset001_Toy" / "labelsTr" / "case_002.nii.gz", 1, shape=(4, 5, 7))
    problems = [problem for problem in data.verify() if "same content" not in problem]
    assert len(problems) == 2
    said = {problem.partition(": ")[0]: problem for problem in problems}
    assert "has the value 9, which dataset.json does not name" in said["case_001"]
    assert "lies on another grid" in said["case_002"]
    several = make(V2, train=1, form="channels")
    image(tmp_path / "Dataset001_Toy" / "imagesTr" / "case_000_0000.nii.gz", 1, channels=3)
    cases = {case.id: case for split in several.splits() for case in several.cases(split)}
    refused(cases["case_000"].load, "case_000_0000.nii.gz has 3 channels", "names 1: CT")


def test_a_folder_that_is_none_is_told_what_it_lacks(make: Make, tmp_path: Path) -> None:
    make(V2)
    with pytest.raises(UsageError, match=r"has no dataset\.json: it holds data sets such as .*Dataset001_Toy"):
        omlab.load_dataset(f"nnunet:{tmp_path}").splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="is it in nnU-Net's layout"):
        omlab.load_dataset(f"nnunet:{tmp_path / 'empty'}").splits()
    with pytest.raises(UsageError, match=r"there is no file \*\.nrrd in imagesTr"):
        make({**V2, "file_ending": ".nrrd"}).splits()
    with pytest.raises(UsageError, match="no split 'tests': did you mean 'test'"):
        make(V2).about("tests")
