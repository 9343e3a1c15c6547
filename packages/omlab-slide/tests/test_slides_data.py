"""The data set `slides`: its tables, folds of patients, bags by their names, what is wrong in a sentence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omlab
from omlab.errors import InputError, OmlabError, SettingsError
from omlab_slide.bag import Bags
from omlab_slide.data.folds import folds_of, sides_of
from omlab_slide.data.slides import SlidesDataset
from omlab_slide.mil.several import BagOfSlide
from omlab_slide.testing import example_bags, write_pyramid


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    """Bags of the slides a1, a2 (patient A), b1 and c1."""
    for name in ("a1", "a2", "b1", "c1"):
        (tmp_path / "features").mkdir(exist_ok=True)
        omlab.write(example_bags()[2], tmp_path / "features" / f"{name}.bag.zarr")
    return tmp_path


def opened(folder: Path, text: str, **more: Any) -> SlidesDataset:
    (folder / "slides.csv").write_text(text)
    return SlidesDataset(folder / "slides.csv", **{"bags": "features", **more})


OURS = "slide,patient,label,split,site\na1,A,x,train,1\na2,A,x,train,1\nb1,B,y,val,2\nc1,C,x,test,2\n"
CLAMS = "case_id,slide_id,label\nA,a1,x\nA,a2,x\nB,b1,y\nC,c1,x\n"


def test_our_table_says_all(bags: Path) -> None:
    data = opened(bags, OURS)
    assert list(data.splits()) == ["train", "val", "test"]
    about = data.about("train")
    assert (about.inputs, about.target, about.task) == ({"bag": "bag"}, "classes", "classification")
    assert (about.classes, about.groups, about.cases) == ({0: "x", 1: "y"}, 1, 2)
    sample = data.cases("val")[0].load()
    assert (sample.id, sample.group, sample.target.predicted, sample.meta) == ("b1", "B", ("y",), {"site": "2"})
    assert not data.verify()


@pytest.mark.parametrize(
    "splits",
    [
        ",train,val,test\n0,a1,b1,c1\n1,a2,,\n",
        ",train,val,test\na1,True,False,False\na2,True,False,False\nb1,False,True,False\nc1,False,False,True\n",
    ],
)
def test_both_files_of_clam_are_read(bags: Path, splits: str) -> None:
    (bags / "splits_0.csv").write_text(splits)
    data = opened(bags, CLAMS, splits="splits_0.csv")
    assert {split: [case.id for case in data.cases(split)] for split in data.splits()} == {
        "train": ["a1", "a2"],
        "val": ["b1"],
        "test": ["c1"],
    }


def test_a_case_may_be_a_patient_with_all_slides(bags: Path) -> None:
    [case] = opened(bags, OURS, by="patient").cases("train")
    found = case.load().inputs["bag"]
    assert case.id == "A"
    assert isinstance(found, Bags)
    assert len(found.parts_of_case) == 2


def test_a_slide_stands_where_there_is_no_bag_of_it(bags: Path) -> None:
    write_pyramid(bags / "features" / "d1.tiff")
    write_pyramid(bags / "features" / "c1.tiff")
    data = opened(bags, OURS + "d1,D,y,test,2\n")
    kinds = [type(case.load().inputs["bag"]).__name__ for case in data.cases("test")]
    assert kinds == ["Bag", BagOfSlide.__name__]


def test_times_and_events_are_targets_of_survival(bags: Path) -> None:
    data = opened(bags, "slide,time,event\na1,5,1\nb1,9.5,0\n")
    assert (data.about("train").target, data.about("train").task) == ("scores", "survival")
    assert data.cases("train")[1].load().target.values == {"time": 9.5, "event": 0}


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("slid,label\na1,x\n", {}, "no column is called slide or slide_id, but slid, label"),
        ("slide,label\na1,x\na1,y\n", {}, "line 3: the slide 'a1' is there twice"),
        ("slide,time,event\na1,soon,1\n", {}, "the time is 'soon', which is no number"),
        ("slide,label\nz9,x\n", {}, "neither a bag nor a slide .*z9"),
        (OURS.replace("a2,A,x,train", "a2,A,x,val"), {}, r"1 patients lie in several splits: 'A' \(train, val\)"),
        (OURS.replace("a2,A,x", "a2,A,y"), {"by": "patient"}, "the patient 'A' have different labels: x and y"),
        (OURS, {"bags": "nowhere"}, "nowhere is no folder"),
        (OURS, {"folds": 9}, "folds is 9, but must be from 2 to the 3 patients"),
        (OURS, {"folds": 3, "fold": 3}, "of 3 folds the last is 2"),
        ("", {}, "is no table"),
    ],
)
def test_what_is_wrong_is_one_sentence(bags: Path, text: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(OmlabError, match=said):
        opened(bags, text, **more).cases("train")


@pytest.mark.parametrize("text", [OURS, CLAMS])
def test_a_table_of_slides_is_one_of_cases_too_whose_bags_lie_beside_it(bags: Path, text: str) -> None:
    (bags / "slides.csv").write_text(text)
    data = omlab.load_dataset(f"cases:{bags / 'slides.csv'}", settings={"by": "patient"})
    assert isinstance(data, SlidesDataset)
    assert next(case.id for case in data.cases("train")) == "A"
    with pytest.raises(SettingsError, match="'classes'"):
        omlab.load_dataset(f"cases:{bags / 'slides.csv'}", settings={"classes": ["x"]})


def test_a_slide_may_be_called_by_its_file(bags: Path) -> None:
    text = OURS.replace("a1,", "slides/a1.svs,").replace("c1,", "c1.tiff,")
    (bags / "splits.csv").write_text(",train,val,test\n0,a1.svs,b1,\n1,a2.svs,,\n")
    data = opened(bags, text, splits="splits.csv")
    assert [[case.id for case in data.cases(split)] for split in data.splits()] == [["a1", "a2"], ["b1"]]
    assert all(case.load().inputs["bag"].kind == "bag" for case in data.cases("train"))


def test_splits_of_other_slides_are_refused(bags: Path) -> None:
    (bags / "splits.csv").write_text(",train,val,test\n0,a1,zz,\n")
    with pytest.raises(InputError, match=r"has slides that .* has not: zz"):
        opened(bags, CLAMS, splits="splits.csv").cases("train")


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=4), folds=st.integers(2, 10), seed=st.integers(0, 99))
def test_folds_are_even_in_every_class_and_each_patient_is_tested_once(
    counts: list[int], folds: int, seed: int
) -> None:
    labels = {f"{label}-{number}": str(label) for label, count in enumerate(counts) for number in range(count)}
    if len(labels) < folds:
        with pytest.raises(SettingsError, match=f"folds is {folds}"):
            folds_of(labels, folds=folds, seed=seed)
        return
    found = folds_of(labels, folds=folds, seed=seed)
    for label, count in enumerate(counts):
        sizes = Counter(fold for name, fold in found.items() if labels[name] == str(label))
        assert max(sizes.values()) <= -(-count // folds)
        assert min(sizes[fold] for fold in range(folds)) >= count // folds
    tested = Counter()
    for fold in range(folds):
        sides = sides_of(found, fold=fold, folds=folds)
        assert sides.keys() == labels.keys()
        tested.update(name for name, side in sides.items() if side == "test")
    assert set(tested.values()) == {1}
    assert found == folds_of(dict(reversed(labels.items())), folds=folds, seed=seed)
