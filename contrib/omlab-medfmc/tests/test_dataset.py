"""The data sets on tiny copies in every layout, and what is said where something is not there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from shutil import move
from typing import Any

import pytest
import tiny

import omlab
from omlab.errors import InputError, OmlabWarning, UsageError
from omlab_medfmc.lists import read_list
from omlab_medfmc.sets import CHALLENGE, SETS
from omlab_medfmc.support import support_set


def opened(name: str, root: Path, **settings: Any) -> Any:
    return omlab.load_dataset(f"medfmc-{name}", root=root, settings=settings)


@pytest.mark.parametrize("name", CHALLENGE)
def test_the_baselines_layout(tmp_path: Path, name: str) -> None:
    data = opened(name, tiny.baseline(tmp_path, name))
    count = 6 * len(SETS[name].classes)
    assert list(data.splits()) == ["train", "val", "test", "unlabelled"]
    assert [data.about(split).cases for split in data.splits()] == [count] * 4
    assert data.about("train").classes == dict(enumerate(SETS[name].classes))
    sample = data.cases("train")[0].load()
    assert sample.inputs["image"].array.shape == (12, 10, 3)
    assert sample.target.names == SETS[name].classes
    assert (sample.target.threshold is None) == (name == "colon")
    assert data.cases("unlabelled")[0].load().target is None
    data.prepare()
    assert not data.verify()


@pytest.mark.parametrize("images", ["images", "image"])
@pytest.mark.parametrize("name", CHALLENGE)
def test_the_challenges_layout(tmp_path: Path, name: str, images: str) -> None:
    data = opened(name, tiny.challenge(tmp_path, name, images=images))
    assert list(data.splits()) == ["train", "unlabelled"]
    first = tiny.lines(SETS[name], 3)
    for (file, _), case in zip(first, data.cases("train"), strict=False):
        assert case.files["image"][0].name == file
        assert case.load().target is not None
    assert data.cases("unlabelled")[0].load().target is None
    assert not data.verify()


@pytest.mark.parametrize("name", SETS)
def test_the_papers_layout(tmp_path: Path, name: str) -> None:
    data = opened(name, tiny.paper(tmp_path, name))
    assert list(data.splits()) == ["train", "test"]
    for (file, label), case in zip(tiny.lines(SETS[name], 4), data.cases("train"), strict=False):
        assert case.files["image"][0].name == file
        target = case.load().target
        right = [place for place, value in enumerate(target.probabilities) if value]
        sign = tiny.LABELS.get(name)
        wanted = [n for n, value in enumerate(label.split(sign)) if value == "1"] if sign else [int(label)]
        assert right == wanted
        assert getattr(case, "label", None) == (None if sign else target.names[right[0]])
    assert not data.verify()


@pytest.mark.parametrize("layout", [tiny.baseline, tiny.challenge, tiny.paper])
def test_the_sets_folder_itself_will_do(tmp_path: Path, layout: Callable[[Path, str], Path]) -> None:
    home = next(layout(tmp_path, "endo").glob("**/images")).parent
    if layout is tiny.challenge:
        home = tmp_path / "MedFMC_train" / "endo"
    assert "train" in opened("endo", home).splits()


def test_patients_and_studies() -> None:
    colon = SETS["colon"]
    name = "2019-10004-1-1-1_2019-05-28 17_55_39-lv1-47004-11609-5464-5695p0000"
    assert colon.patient(name) == "2019-10004"
    assert colon.study(name) == colon.study(f"{name}.png") == name[:-5]
    assert SETS["endo"].patient("13333_2021.01_0000_50000005.png") == "13333_2021.01_0000"
    assert SETS["neojaundice"].patient("0004-1") == "0004"
    assert SETS["chest"].patient("DX.1.2.3.png") == "DX.1.2.3"


def test_published_few_shot_lists_warn_of_what_is_in_both(tmp_path: Path) -> None:
    root = tiny.baseline(tmp_path, "endo")
    data = opened("endo", root, shots=1, exp=1)
    with pytest.warns(OmlabWarning, match=r"4 of the 8 training images of MedFMC's Endo, 1 shots, exp 1 are in"):
        data.prepare()
    ids = [case.id for case in data.cases("train")]
    assert len(ids) == 9
    assert ids[-1] == f"{ids[0]}~2"  # what is listed twice counts twice
    assert data.cases("train")[-1].files == data.cases("train")[0].files
    apart = opened("endo", root, shots=1, disjoint=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apart.prepare()
    assert not {case.id for case in apart.cases("train")} & {case.id for case in apart.cases("val")}
    assert len(apart.cases("val")) == len(data.cases("val")) - 4
    assert apart.digest("train") == data.digest("train")
    assert apart.digest("val") != data.digest("val")
    assert list(map(str, data.cases("test"))) == list(map(str, opened("endo", root).cases("test")))


def test_episodes_are_the_published_lists(tmp_path: Path) -> None:
    data = opened("endo", tiny.baseline(tmp_path, "endo"), disjoint=True)
    found, further = omlab.episodes(data, 1, [0]), opened("endo", data.root, shots=1, exp=1, disjoint=True)
    assert [case.id for case in found[0].cases("train")] == [case.id for case in further.cases("train")]
    assert [case.id for case in found[0].cases("test")] == [case.id for case in data.cases("test")]
    with pytest.warns(OmlabWarning, match=r"no list endo_1-shot_train_exp8.txt of MedFMC's Endo .* drawn by MedFMC"):
        (drawn,) = omlab.episodes(data, 1, 7)
    assert not {case.id for case in drawn.cases("train")} & {case.id for case in drawn.cases("val")}
    assert further.episode(1, 0) is None


def test_lists_may_lie_elsewhere(tmp_path: Path) -> None:
    root = tiny.baseline(tmp_path / "data-of-mine", "chest")
    apart = tmp_path / "data_anns" / "MedFMC" / "chest"
    apart.mkdir(parents=True)
    for path in (root / "data" / "MedFMC" / "chest").glob("*.txt"):
        move(path, apart / path.name)
    with pytest.raises(InputError, match="no list lies beside it"):
        opened("chest", root).splits()
    for lists in (tmp_path, tmp_path / "data_anns" / "MedFMC", apart):
        assert "test" in opened("chest", root, lists=str(lists)).splits()


@pytest.mark.parametrize("name", ["neojaundice", "retino", "colon"])
def test_few_shots_of_ones_own_draw(tmp_path: Path, name: str) -> None:
    root = tiny.paper(tmp_path, name)
    data = opened(name, root, shots=1, drawn=True, exp=7)
    data.prepare()  # nothing is in both
    one = SETS[name]
    pool = read_list(root / one.folders[1] / "fewshot-pool.txt", one)
    wanted = support_set(pool, one, shots=1, random=Random(7))
    assert [case.files["image"][0].stem for case in data.cases("train")] == [
        entry.name for part in wanted for entry in part
    ]
    assert {case.label for case in data.cases("train")} == set(one.classes)
    rest = {entry.name for entry in pool} - {entry.name for part in wanted for entry in part}
    assert {case.files["image"][0].stem for case in data.cases("val")} == rest
    others = [opened(name, root, shots=1, drawn=True, exp=exp).digest("train") for exp in range(6)]
    assert len(set(others)) > 1


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images of MedFMC's ChestDR in .*figshare.*chest/images.*MedFMC_train"):
        opened("chest", tmp_path).prepare()
    root = tiny.baseline(tmp_path, "colon")
    with pytest.raises(InputError, match=r"no list colon_5-shot_train_exp2.txt .*get it from .*drawn=yes"):
        opened("colon", root, shots=5, exp=2).prepare()
    with pytest.raises(InputError, match="none was published"):
        opened("retino", tiny.paper(tmp_path, "retino"), shots=1).prepare()
    with pytest.raises(UsageError, match="no split 'tset': did you mean 'test'"):
        opened("colon", root).cases("tset")
    next((root / "data" / "MedFMC" / "colon" / "images").iterdir()).unlink()
    data = opened("colon", root)
    with pytest.raises(InputError, match="is missing"):
        [data.digest(split) for split in data.splits()]
    with pytest.raises(UsageError, match="must be at least 0"):
        opened("retino", tmp_path, shots=-1, drawn=True)


def test_a_wrong_list_is_found(tmp_path: Path) -> None:
    home = tiny.baseline(tmp_path, "colon") / "data" / "MedFMC" / "colon"
    one = SETS["colon"]
    test = tiny.parts(one)["test"]
    tiny.write_list(home / "test_WithLabel.txt", [*[(name, "0") for name, _ in test], (test[0][0], "0")])
    said = " ".join(opened("colon", tmp_path).verify())
    assert "names 1 images several times" in said
    assert "before June 2023" in said
    tiny.write_list(home / "test_WithLabel.txt", tiny.parts(one)["train"][:1] + test)
    said = " ".join(opened("colon", tmp_path).verify())
    assert "is in train and test" in said
