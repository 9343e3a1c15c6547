"""The data sets as published: what is read, how it is split, what the released lists leak, and what is wrong."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from omlab.errors import InputError, OmlabWarning
from omlab_data.splits import Shares
from omlab_endofm.data.cvc import Cvc
from omlab_endofm.data.kumc import Kumc
from omlab_endofm.data.polypdiag import PolypDiag
from omlab_endofm.data.pretraining import EndoscopyClips, cut
from omlab_payloads.boxes import Box
from omlab_testkit.parity import load_file
from omlab_video.clip import Clip
from omlab_video.over_time import BoxesClip, LabelMapClip

TINY = load_file(Path(__file__).with_name("tiny_data.py"))
SHARES = Shares(test=0.2, val=0.1, seed=0)


def test_polypdiag_is_tested_on_what_was_released_as_val(tmp_path: Path) -> None:
    data = PolypDiag(TINY.write_polypdiag(tmp_path), val=0.2, seed=0)
    assert {split: len(data.cases(split)) for split in data.splits()} == {"train": 5, "val": 1, "test": 4}
    assert not data.verify()
    sample = data.cases("test")[1].load()
    assert sample.target.predicted == ("abnormal",)  # type: ignore[union-attr]
    assert len(sample.inputs["clip"]) == 6  # type: ignore[arg-type]
    (tmp_path / "splits" / "val.txt").write_text("clip6.mp4,0\nclip2.mp4,0\nclip9.mp4,1\n")
    assert "have 1 of 3 test videos in training too: clip2.mp4." in " ".join(PolypDiag(tmp_path).verify())


def test_cvc_is_split_by_video_and_its_leak_is_said(tmp_path: Path) -> None:
    root = TINY.write_cvc(tmp_path / "cvc", leaking=2)
    data = Cvc(root, shares=SHARES)
    data.prepare()
    groups = {split: {case.group for case in data.cases(split)} for split in data.splits()}
    assert {split: len(found) for split, found in groups.items()} == {"train": 15, "val": 2, "test": 4}
    assert not set.intersection(*groups.values())
    leak, *others = data.verify()
    assert "has 2 of 3 test clips in training too (frames 001-002, 003-004)" in leak
    assert not others
    released = Cvc(root, shares=SHARES, released=True)
    with pytest.warns(OmlabWarning, match="no target. It is as it is here"):
        released.prepare()
    assert [len(released.cases(split)) for split in ("train", "test")] == [20, 3]
    assert any("of several splits" in problem for problem in released.verify())
    *_, table = data.report(tmp_path / "page")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["shares_frames_with_lines"] for row in rows[20:]] == ["1", "2", ""]


def test_clips_that_share_some_frames_are_one_video(tmp_path: Path) -> None:
    root = TINY.write_cvc(tmp_path)
    lines = (root / "videolist.txt").read_text().splitlines()
    lines[22] = "x 2 3"  # frames 2 to 4 of the clips 1-2 and 3-4
    (root / "videolist.txt").write_text("\n".join(lines))
    data = Cvc(root, shares=SHARES)
    assert len({video for clip, video in data.videos.items() if clip.first < 4}) == 1
    assert "1 of 3 test clips" in data.leaks()[0]


def test_masks_lie_on_their_frames(tmp_path: Path) -> None:
    case = Cvc(TINY.write_cvc(tmp_path), shares=SHARES).cases("train")[0]
    sample = case.load()
    clip, masks = sample.inputs["clip"], sample.target
    assert isinstance(clip, Clip)
    assert isinstance(masks, LabelMapClip)
    assert masks.same_grid(clip)
    assert masks.present() == {1: "polyp"}
    assert (clip.read([1])[0][masks.array[1] == 1][:, 0] == 200).all()


def test_kumc_has_boxes_in_the_order_of_frames(tmp_path: Path) -> None:
    data = Kumc(TINY.write_kumc(tmp_path / "PolypsSet").parent)
    data.prepare()
    assert [case.id for case in data.cases("val")] == ["2", "10"]
    assert not data.verify()
    target = data.cases("test")[1].load().target
    assert isinstance(target, BoxesClip)
    assert [len(boxes.boxes) for boxes in target.frames] == [0, 1, 1, 1]
    left, top = TINY.LEFT + 3 - 0.5, TINY.TOP - 0.5
    (box,) = target.frames[3].boxes
    assert box == Box(near=(left, top), far=(left + TINY.SIDE, top + TINY.SIDE), label="hyperplastic")


def test_listed_clips_are_read_in_order_and_cut(tmp_path: Path) -> None:
    root = TINY.write_pretraining(tmp_path)
    whole = EndoscopyClips(root)
    assert [case.id for case in whole.cases("train")] == ["a", "b", "case1_1-00001", "case1_1-00005", "case1_1-00009"]
    clip = whole.cases("train")[4].load().inputs["clip"]
    assert isinstance(clip, Clip)
    assert [int(np.argmax(frame[15, :, 0] > 180)) for frame in clip.stream()] == [
        TINY.LEFT + n for n in (9, 10, 11, 12)
    ]
    pieces = EndoscopyClips(root / "pretrain", length=8).cases("train")
    lengths = [len(case.load().inputs["clip"]) for case in pieces]  # type: ignore[arg-type]
    assert lengths == [8, 12, 8, 12, 4, 4, 4]
    second = pieces[1].load().inputs["clip"]
    first = whole.cases("train")[0].load().inputs["clip"]
    assert isinstance(second, Clip)
    assert isinstance(first, Clip)
    np.testing.assert_array_equal(second.read([0, 11]), first.read([8, 19]))


def test_what_is_left_of_a_video_goes_to_its_last_clip() -> None:
    assert cut(299, length=150) == [(0, 299)]
    assert cut(300, length=150) == [(0, 150), (150, 300)]
    assert cut(20, length=150) == [(0, 20)]


def _annotated(text: str) -> Callable[[Path], object]:
    return lambda root: (root / "Annotation" / "2" / "9.xml").write_text(text)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda root: (root / "Annotation" / "2" / "9.xml").unlink(), r"the file .*9\.xml is missing"),
        (_annotated("<annotation>"), r"9\.xml cannot be read as the boxes of a frame"),
        (
            _annotated(TINY.annotation(5, label="polyp")),
            "the class 'polyp', which is none of adenomatous, hyperplastic",
        ),
        (_annotated(TINY.annotation(60, label="adenomatous")), "which does not lie in its frame of 64 x 48 pixels"),
        (lambda root: Pillow.new("RGB", (9, 9)).save(root / "Image" / "2" / "9.jpg"), r"9\.jpg has 9 x 9 pixels"),
    ],
)
def test_a_damaged_video_is_one_sentence(tmp_path: Path, damage: Callable[[Path], object], sentence: str) -> None:
    root = TINY.write_kumc(tmp_path)
    damage(root / "test2019")
    with pytest.raises(InputError, match=sentence):
        next(iter(Kumc(root).cases("test")[0].load().inputs["clip"].loaded().stream()))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("opened", "files", "sentence"),
    [
        (Kumc, ["nothing.txt"], "is not laid out as KUMC, which has train2019 or .*: it has nothing.txt."),
        (Kumc, ["test2019/1.jpg"], "has no folder 'Image' beside 'Annotation'"),
        (Kumc, ["test2019/Image/1.jpg"], "has no folder of frames for each video"),
        (PolypDiag, [], "is not laid out as PolypDiag, which has splits: it is empty."),
        (PolypDiag, ["splits/train.txt"], "train.txt is empty: it names no clip."),
        (EndoscopyClips, ["train.csv"], "train.csv is empty: it names no clip."),
        (lambda root: Cvc(root, shares=SHARES), ["videolist.txt"], "videolist.txt is empty: it names no clip."),
    ],
)  # fmt: skip
def test_another_layout_is_one_sentence(tmp_path: Path, opened: type, files: list[str], sentence: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=sentence):
        opened(tmp_path).prepare()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [("clip0.mp4;1", "is no name with 0"), ("clip0.mp4,2", "is no name with 0"), ("clip1.mp4,0", "as normal and as")],
)
def test_a_line_that_says_nothing_is_named(tmp_path: Path, line: str, sentence: str) -> None:
    root = TINY.write_polypdiag(tmp_path)
    with (root / "splits" / "train.txt").open("a") as file:
        file.write(line)
    with pytest.raises(InputError, match=rf"train\.txt, line 7: .*{sentence}"):
        PolypDiag(root).prepare()
