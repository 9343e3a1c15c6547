"""Own images: every layout, splits by patient and class, and what is wrong is found and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

import omlab
from omlab import Sample
from omlab.errors import InputError, OmlabError, SettingsError, UsageError
from omlab.few_shot import episodes
from omlab.surveys import surveyed
from omlab_data.splits import Shares
from omlab_image.data.imagefolder import ImageFolder
from omlab_image.data.listing import ids_of
from omlab_payloads.classes import Classes

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes images, each with a number in it, below a folder."""
    root = tmp_path / "root"

    def written(*paths: str, table: str = "") -> Path:
        for number, name in enumerate(paths):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            array = np.zeros((6, 7), np.uint8)
            array[number % 6, number // 6 % 7] = 200
            array[-1, -1] = number
            Pillow.fromarray(array).save(path)
        root.mkdir(exist_ok=True)
        if table:
            (root / "labels.csv").write_text(table)
        return root

    return written


def _opened(root: Path, **more: Any) -> ImageFolder:
    data = omlab.load_dataset(f"imagefolder:{root}", settings=more)
    assert isinstance(data, ImageFolder)
    return data


def _ids(data: ImageFolder) -> dict[str, list[str]]:
    return {split: [case.id for case in data.cases(split)] for split in data.splits()}


CLASSES = [f"{name}/{n:02d}.png" for name in ("benign", "malignant", "normal") for n in range(10)]


def test_a_folder_a_class(write: Write) -> None:
    data = _opened(write(*CLASSES))
    assert list(data.splits()) == ["train", "val", "test"]
    about = data.about("train")
    assert (about.inputs, about.target, about.task) == ({"image": "image"}, "classes", "classification")
    assert about.classes == {0: "benign", 1: "malignant", 2: "normal"}
    assert about.cases == 21
    assert about.groups is None
    for split, count in (("train", 7), ("val", 1), ("test", 2)):
        cases = list(data.cases(split))
        assert Counter(case.label for case in cases) == dict.fromkeys(about.classes.values(), count)
        assert data.about(split).facts == {"image": {"by_class": dict.fromkeys(about.classes.values(), count)}}
    sample = data.cases("train")[0].load()
    assert isinstance(sample, Sample)
    assert isinstance(sample.target, Classes)
    assert sample.target.predicted == ("benign",)
    assert list(data.verify()) == []


def test_splits_as_they_stand(write: Write) -> None:
    paths = [f"{split}/{name}/x{n}.png" for split in ("train", "val", "test") for name in "ab" for n in range(2)]
    data = _opened(write(*paths))
    assert _ids(data)["test"] == ["test-a-x0", "test-a-x1", "test-b-x0", "test-b-x1"]
    assert data.about("val").classes == {0: "a", 1: "b"}


def test_other_names_of_splits(write: Write) -> None:
    names = ("training_set", "Val_Set", "test_set")
    data = _opened(write(*(f"{name}/a/x.png" for name in names), "test_set/b/y.png"))
    assert list(data.splits()) == ["train", "val", "test"]


def test_images_without_classes(write: Write) -> None:
    data = _opened(write(*(f"{n}.png" for n in range(20))))
    assert list(data.splits()) == ["train", "val"]
    assert data.about("train").target == ""
    assert data.about("train").classes == {}
    assert data.cases("train")[0].load().target is None
    assert len(_opened(write("images/x.png", "images/deep/y.png")).cases("train")) > 0


def test_a_table_beside_the_images(write: Write) -> None:
    table = "image,class,group,split\na/1.png,well,p1,train\na/2.png,ill,p2,test\n1.png,ill,p1,train\n"
    data = _opened(write("a/1.png", "a/2.png", "1.png", table=table))
    assert _ids(data) == {"train": ["a-1", "1"], "test": ["a-2"]}
    assert data.about("train").groups == 1
    assert data.about("test").classes == {0: "ill", 1: "well"}
    assert [case.label for case in data.cases("train")] == ["well", "ill"]


def test_several_classes_an_image(write: Write) -> None:
    data = _opened(write("1.png", "2.png", table="image,classes\n1.png,oedema; effusion\n2.png,\n"), test=0, val=0)
    first, second = (case.load().target for case in data.cases("train"))
    assert isinstance(first, Classes)
    assert isinstance(second, Classes)
    assert first.predicted == ("effusion", "oedema")
    assert second.predicted == ()
    assert second.threshold == 0.5


def test_images_that_a_table_gives_no_class_are_unlabelled(write: Write) -> None:
    table = "image,class\n" + "".join(f"{n}.png,{('a', 'b', '')[n % 3]}\n" for n in range(12))
    data = _opened(write(*(f"{n}.png" for n in range(12)), table=table))
    assert len(data.cases("unlabelled")) == 4
    assert data.about("unlabelled").target == ""


def test_patients_are_never_torn(write: Write) -> None:
    paths = [f"{name}/p{n // 3}_{n}.png" for name in ("a", "b") for n in range(30)]
    data = _opened(write(*paths), group="p([0-9]+)_")
    where: dict[str, set[str]] = {}
    for split in data.splits():
        for case in data.cases(split):
            assert case.group is not None
            where.setdefault(case.group, set()).add(split)
    assert len(where) == 10
    assert all(len(splits) == 1 for splits in where.values())
    assert data.about("train").groups == 7
    with pytest.raises(InputError, match=r"a/p0_0\.png.*does not fit"):
        _opened(write(), group="patient").splits()
    with pytest.raises(SettingsError, match="no regular expression"):
        _opened(write(), group="(")


def test_the_split_depends_on_the_seed_and_the_names_alone(write: Write) -> None:
    root = write(*CLASSES)
    first = _ids(_opened(root))
    assert _ids(_opened(root)) == first
    assert _ids(_opened(root, seed=1)) != first
    folds = [_ids(_opened(root, folds=4, fold=fold))["val"] for fold in range(4)]
    assert sorted(id for fold in folds for id in fold) == sorted({*first["train"], *first["val"]})


def test_patients_and_pictures_in_several_splits_are_named(write: Write) -> None:
    root = write("train/a/p1.png", "train/b/p2.png", "test/a/p1.png", "test/b/p4.png")
    with pytest.raises(InputError, match=r"'p1' \(test, train\)"):
        _opened(root, group="p[0-9]").cases("train")
    Pillow.open(root / "train/b/p2.png").convert("RGB").save(root / "test/b/p5.bmp")  # the same picture in another file
    problems = list(_opened(root, group="p[0-9]").verify())
    assert any("train-b-p2 (train), test-b-p5 (test): of several splits" in sentence for sentence in problems)
    assert any("'p1' lies in train and test" in sentence for sentence in problems)


def test_what_cannot_be_read_is_named(write: Write) -> None:
    root = write(*CLASSES)
    broken, gone = root / "benign" / "03.png", root / "normal" / "09.png"
    data = _opened(root)
    digests = {split: data.digest(split) for split in data.splits()}
    broken.write_bytes(broken.read_bytes()[:48])
    assert any("03.png is damaged" in sentence for sentence in _opened(root).verify())
    assert {split: _opened(root).digest(split) for split in data.splits()} != digests
    assert list(data.splits())
    gone.unlink()
    assert any("09.png is missing" in sentence for sentence in data.verify())
    with pytest.raises(InputError, match="is missing"):
        data.cases("train")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("picture,class\n1.png,a\n", "the column 'picture'"),
        ("class\na\n", "no column 'image'"),
        ("image,class,classes\n1.png,a,b\n", "both columns"),
        ("image,class\n1.png,a\n1.png,b\n", "line 3: '1.png' stands in line 2"),
        ("image,class\n,a\n", "line 2: it names no image"),
        ("image,class\n1.png,a\n2.png,a\n", "has 1 classes"),
        ("image,class,split\n1.png,a,\n2.png,b,test\n", "line 2: '1.png' has no split"),
        ("image,class\n1.png,a,more\n", "line 2: it has more cells"),
        ("image\n", "it has no row"),
        ("image,class\n1.png,a\n3.png,b\n", "3.png is missing"),
    ],
)
def test_a_table_that_is_wrong_is_told_by_line(table: str, words: str, write: Write) -> None:
    root = write("1.png", "2.png", table=table)
    with pytest.raises(InputError, match=words):
        _opened(root, test=0, val=0).cases("train")


def test_a_folder_that_is_wrong_is_told(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no image"):
        _opened(write()).splits()
    with pytest.raises(UsageError, match="no folder"):
        ImageFolder(tmp_path / "absent", shares=Shares()).splits()
    with pytest.raises(UsageError, match="table names"):
        _opened(write("a/1.png"), table="other.csv").splits()
    with pytest.raises(UsageError, match="no split 'tests'"):
        _opened(write("a/1.png", "b/2.png")).about("tests")
    with pytest.raises(InputError, match=r"stray\.png stand beside the folders a, b"):
        _opened(write("stray.png")).splits()


def test_hidden_files_and_circles_of_links_are_left_out(write: Write) -> None:
    root = write(*CLASSES, ".hidden/x.png", "benign/.y.png", "__MACOSX/z.png")
    (root / "benign" / "again").symlink_to(root)
    assert sum(len(cases) for cases in _ids(_opened(root)).values()) == len(CLASSES)


@settings(max_examples=30)
@given(st.lists(st.text("ab-/.", min_size=1, max_size=6).filter(lambda text: text.strip("./") == text), unique=True))
def test_ids_are_unique_or_refused(stems: list[str]) -> None:
    paths = [f"{stem}.png" for stem in stems if "//" not in stem]
    try:
        ids = ids_of(paths)
    except OmlabError:
        return
    assert len(set(ids)) == len(paths)


def test_episodes_need_no_reading(write: Write, tmp_path: Path) -> None:
    root = write(*CLASSES)
    data = _opened(root)
    (episode,) = episodes(data, shots=2, seeds=[0])
    assert Counter(case.label for case in episode.cases("train")) == {"benign": 2, "malignant": 2, "normal": 2}  # type: ignore[attr-defined]
    assert surveyed(data, "train", folder=tmp_path) == data.about("train")
