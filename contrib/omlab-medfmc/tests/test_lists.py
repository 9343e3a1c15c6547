"""Lines and rows of every form, and those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import InputError, UsageError
from omlab_medfmc.lists import Entry, overlap, read_list
from omlab_medfmc.sets import SETS, set_of, without_suffix

NAMES = st.text("abcXYZ0123456789.-_ ", min_size=5, max_size=40).map(lambda name: f"x{name.strip()}".rstrip("."))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists")


@given(st.lists(st.tuples(NAMES, st.integers(0, 1), st.booleans()), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_names_with_spaces_and_dots_come_back(folder: Path, rows: list[tuple[str, int, bool]]) -> None:
    entries = [(f"{name}.png" if has else f"{name}p0001", label) for name, label, has in rows]
    path = folder / "list.txt"
    path.write_text("\n".join(f"{name} {label}" for name, label in entries) + "\n")
    found = read_list(path, SETS["colon"])
    assert [(entry.name, entry.classes) for entry in found] == [(name, (label,)) for name, label in entries]
    path.write_text("\r\n".join(name for name, _ in entries))
    assert [entry.labels for entry in read_list(path, SETS["colon"])] == [None] * len(entries)


@pytest.mark.parametrize("name", SETS)
def test_each_set_reads_its_own_lines_and_tables(tmp_path: Path, name: str) -> None:
    one = SETS[name]
    entries = tiny.lines(one, 12)
    tiny.write_list(tmp_path / "list.txt", entries)
    tiny.write_table(tmp_path / "list.csv", entries, one)
    read = read_list(tmp_path / "list.txt", one)
    assert read == read_list(tmp_path / "list.csv", one)
    assert [entry.name for entry in read] == [file for file, _ in entries]
    sign = tiny.LABELS.get(name)
    for entry, (_, label) in zip(read, entries, strict=True):
        assert entry.labels is not None
        assert len(entry.labels) == len(one.classes)
        assert (sign.join(map(str, entry.labels)) if sign else str(entry.classes[0])) == label


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("chest", "DX.1.2.png 0,1,0", "line 1: 'DX.1.2.png 0,1,0' is no line of ChestDR"),
        ("chest", "a.png " + ",".join("0" * 18) + ",2", "19 times 0 or 1"),
        ("endo", "a.png 0 1 0", "4 times 0 or 1"),
        ("colon", "2019-1 17_55p0001.png 1\n2019-2 17_55p0001.png 3", "line 2: .* a class from 0 to 1"),
        ("retino", "a 5", "a class from 0 to 4"),
    ],
)
def test_another_line_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_list(tmp_path / "list.txt", SETS[name])


def test_tables_of_other_headings(tmp_path: Path) -> None:
    path = tmp_path / "endo_train.csv"
    path.write_text(",study_id,Img ID,Ulcer,Erosion,Polyp,Tumor\n0,s,a.png,0,1,0,1.0\n")
    assert read_list(path, SETS["endo"]) == [Entry(name="a.png", labels=(0, 1, 0, 1))]
    path.write_text("study_id,img_id,tumor\ns,a b.png,1\n")
    assert read_list(path, SETS["colon"]) == [Entry(name="a b.png", labels=(0, 1))]
    path.write_text("img_id\na.png\n")
    assert read_list(path, SETS["endo"]) == [Entry(name="a.png")]
    for text, message in (
        ("picture,ulcer\na.png,1\n", "no column of images"),
        ("img_id,ulcer,polyp\na.png,1,0\n", "has the columns ulcer, polyp"),
        ("img_id,Ulcer,Erosion,Polyp,Tumor\na.png,0,1,0,7\n", "row 2 has the labels 0, 1, 0, 7"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_list(path, SETS["endo"])
    with pytest.raises(InputError, match="cannot be read"):
        read_list(tmp_path / "gone.txt", SETS["endo"])


def test_names() -> None:
    assert without_suffix("CR.1.2.PNG") == "CR.1.2"
    assert without_suffix("CR.1.2") == "CR.1.2"
    assert set_of("ChestDR") is set_of("chest")
    with pytest.raises(UsageError, match="did you mean 'chest'"):
        set_of("ches")
    twice = [Entry(name="a"), Entry(name="b"), Entry(name="a")]
    assert overlap(twice, [Entry(name="a"), Entry(name="c")]) == ["a"]
