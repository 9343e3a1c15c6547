"""Chats to learn from: read by their places in files, parted by group, refused with file and line."""

import json

import pytest

from omlab.datasets import open_dataset
from omlab.errors import InputError, UsageError


def written(folder, *rows, name="sft"):
    path = folder / f"{name}.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def said(text, **more):
    return {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}], **more}


def opened(path, **settings):
    data = open_dataset(f"chats:{path}", root=None, settings=settings).dataset
    data.prepare()
    return data


def texts(data, split):
    return [case.load().inputs["chat"].turns[-1].text for case in data.cases(split)]


def test_rows_of_all_forms_are_read_where_they_stand(tmp_path):
    share = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "热"}]}
    data = opened(written(tmp_path, said("one", id="first"), "", share, {"text": "bare"}), val=0)
    assert texts(data, "train") == ["one", "热", "bare"]
    cases = data.cases("train")
    assert [case.id for case in cases] == ["first", "000003", "000004"]
    assert cases[1].load().meta == {"source": "sft", "where": f"{tmp_path / 'sft.jsonl'}, line 3"}


def test_rows_say_their_split_or_are_parted_by_group(tmp_path):
    rows = [said(f"{n}", group=f"patient {n % 10}") for n in range(40)]
    data = opened(written(tmp_path, *rows, said("kept", split="valid"), said("held", split="test")), val=0.2)
    assert data.splits() == ["train", "val", "test"]
    assert "kept" in texts(data, "val")
    assert texts(data, "test") == ["held"]
    groups = {split: {case.group for case in data.cases(split)} - {None} for split in ("train", "val")}
    assert len(groups["val"]) == 2
    assert not groups["val"] & groups["train"]
    other = opened(tmp_path / "sft.jsonl", val=0.2, seed=1)
    assert {case.group for case in other.cases("val")} != groups["val"] | {None}


def test_a_folder_is_read_whole_with_its_files_as_sources(tmp_path):
    written(tmp_path, {"text": "a"}, name="general")
    written(tmp_path, {"text": "b", "source": "guidelines"}, {"text": "c"}, name="medical")
    data = opened(tmp_path, val=0)
    assert [case.load().meta["source"] for case in data.cases("train")] == ["general", "guidelines", "medical"]
    assert [case.id for case in data.cases("train")] == ["general-000001", "medical-000001", "medical-000002"]


def test_another_word_in_a_file_is_another_digest(tmp_path):
    before = opened(written(tmp_path, said("one"), said("two"))).digest("train")
    assert opened(written(tmp_path, said("one"), said("owt"))).digest("train") != before


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ([said("a"), '{"messages": ['], "sft.jsonl, line 2 is not JSON"),
        ([said("a"), {"messages": [{"role": "usr", "content": "b"}]}], "sft.jsonl, line 2 cannot be used: messages.0"),
        ([said("a", split="tests")], "line 1 cannot be used: split: it is 'tests', but must be train, val, test"),
        ([said("a", id="x"), said("b", id="x")], "line 2: the id 'x' is that of .*line 1 already"),
        ([""], "sft.jsonl holds no row"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, rows, where):
    with pytest.raises(InputError, match=where):
        opened(written(tmp_path, *rows))


def test_a_split_without_rows_is_told(tmp_path):
    data = opened(written(tmp_path, said("a")), val=0)
    with pytest.raises(UsageError, match="no rows of the split 'test', only of train"):
        data.cases("test")
