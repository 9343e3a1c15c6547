"""PatchGastricADC22: the table, splits by slide, few slides, and damage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny

import omlab
from omlab.errors import InputError, UsageError
from omlab_cite.gastric.lists import CLASSES, read_list, read_table, slide_of, split
from omlab_cite.gastric.metrics import accuracies


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_gastric(tmp_path_factory.mktemp("gastric") / "data", slides=60)


def opened(root: Path, **settings: Any) -> Any:
    return omlab.load_dataset("patchgastric", root=root, settings=settings)


def test_slides_are_not_torn_and_subtypes_that_no_class_has_are_left_out(root: Path) -> None:
    data = opened(root)
    slides = {name: {case.group for case in data.cases(name)} for name in ("train", "test")}
    assert not slides["train"] & slides["test"]
    assert [len(slides["train"]), len(slides["test"])] == [3 + 3 + 5, 9 + 9 + 19]
    others = {slide.id for slide in read_table(root / "captions.csv") if slide.subtype == tiny.OTHER}
    assert not others & (slides["train"] | slides["test"])
    sample = data.cases("train")[0].load()
    assert sample.meta["caption"].startswith('Cells, "atypical", of slide')
    assert sample.target.predicted[0] in CLASSES
    assert data.verify() == []


def test_few_shots_are_the_largest_slides_and_other_seeds_draw(root: Path) -> None:
    data = opened(root)
    (few,) = omlab.episodes(data, 2, 0)
    cases = few.cases("train")
    by_class = {name: {case.group for case in cases if case.label == name} for name in CLASSES}
    assert [len(slides) for slides in by_class.values()] == [2, 2, 2]
    sizes = {
        group: sum(case.group == group for case in data.cases("train")) for group in set().union(*by_class.values())
    }
    rest = [case for case in data.cases("train") if case.group not in sizes]
    least = {name: min(sizes[group] for group in by_class[name]) for name in CLASSES}
    for case in rest:
        assert sum(other.group == case.group for other in rest) <= least[case.label]
    assert [case.id for case in few.cases("test")] == [case.id for case in data.cases("test")]
    drawn = [{case.group for case in one.cases("train")} for one in omlab.episodes(data, 2, [1, 2, 3, 4])]
    assert len({frozenset(one) for one in drawn}) > 1
    assert data.digest("train") != few.digest("train")


def test_too_many_shots_are_refused(root: Path) -> None:
    with pytest.raises(UsageError, match=r"has 3 training slides in .*, but 16 shots were asked for"):
        omlab.episodes(opened(root), 16, 0)


def test_lists_that_the_script_wrote_are_taken(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(root, copy)
    tiny.write_lists(copy)
    assert [case.id for case in opened(copy).cases("test")] == [case.id for case in opened(root).cases("test")]
    path = copy / "gastric_cls3_ann" / "train_all_0.2.txt"
    kept = path.read_text().splitlines()[:4]
    path.write_text("\n".join(kept))
    assert len(opened(copy).cases("train")) == 4
    assert len(opened(copy, split_seed=1).cases("train")) > 4
    path.write_text("a_b.jpg 7")
    with pytest.raises(InputError, match=r"line 1: 'a_b\.jpg 7' is not"):
        read_list(path)


def test_the_draw_is_that_of_the_table_alone(root: Path) -> None:
    slides, listing = read_table(root / "captions.csv"), opened(root).listing
    forth = split(slides, listing, share=0.8, seed=0)
    back = split(slides, listing[::-1], share=0.8, seed=0)
    assert {slide_of(name) for name, _ in forth.test} == {slide_of(name) for name, _ in back.test}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,subtype\na,b\n", "no column 'text'"),
        ("", "no column 'id' but nothing"),
        ("id,subtype,text\na\n", "line 2: a row has"),
        ('id,subtype,text\na,b,"cut', "cannot be read"),
        ("id,subtype,text\na,b,c\na,b,c\n", "twice"),
        ("id,subtype,text\na,b,c,d\n", "damaged"),
    ],
)
def test_a_damaged_table_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "captions.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_table(tmp_path / "captions.csv")


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="zenodo"):
        opened(tmp_path).prepare()
    shutil.copy(root / "captions.csv", tmp_path)
    (tmp_path / "patches_captions.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"unpack patches_captions\.zip"):
        opened(tmp_path).prepare()
    (tmp_path / "patches_captions").mkdir()
    with pytest.raises(InputError, match="no patches"):
        opened(tmp_path).prepare()
    shutil.copy(next((root / "patches_captions").iterdir()), tmp_path / "patches_captions" / "stray_1.jpg")
    with pytest.raises(InputError, match="No patch"):
        opened(tmp_path).prepare()
    assert "Slides with patches, but without a row in captions.csv: stray (1)" in " ".join(opened(tmp_path).verify())


def test_slides_vote_by_the_mean_of_their_patches() -> None:
    found = accuracies([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]], [0, 0, 1], ["a", "a", "b"])
    assert found["accuracy"] == pytest.approx(200 / 3)
    assert found["bag_accuracy"] == 100
    assert found["accuracy_0"] == 50
    with pytest.raises(UsageError, match="not of the same patches"):
        accuracies([[0.9, 0.1]], [0, 0], ["a"])
