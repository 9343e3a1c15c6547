"""Tables of cases: what columns mean, what is refused, and that a user's own files run through the commands' jobs."""

import json
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest

import omlab
from omlab.errors import InputError, OmlabError, UsageError
from omlab.stamps import parts_of

LINES = [f"{n},{n}.line" for n in range(6)]


def loaded(data, split="test"):
    return {case.id: case.load() for case in data.cases(split)}


def all_cases(data):
    return {case.id: case for split in data.splits() for case in data.cases(split)}


def refused(action, *words):
    with pytest.raises(OmlabError) as caught:
        action()
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence
    return sentence


def test_columns_are_inputs_target_group_and_split(table):
    data = table("id,line,target,group,split", "a,0.line,0-marks.line,p1,train", "b,1.line,1-marks.line,p2,test")
    assert data.splits() == ["train", "test"]
    about = data.about("train")
    assert (about.inputs, about.target, about.cases, about.groups) == ({"line": "line"}, "marks", 1, 1)
    sample = loaded(data)["b"]
    assert sample.inputs["line"].values == (1, 1, 2)
    assert sample.target.values == (0, 1, 1)
    assert sample.group == "p2"


def test_a_column_called_like_a_kind_holds_that_kind(table):
    data = table("id,line,marks,split", "a,0.line,0-marks.line,test")
    assert data.about("test").inputs == {"line": "line", "marks": "marks"}


def test_a_header_says_the_kind_and_a_cell_then_holds_the_value_where_it_can(table):
    data = table("id,scan:line,note:words,target:words,split", 'a,0.line,"say, it",3,test')
    sample = loaded(data)["a"]
    assert sample.inputs["note"].text == "say, it"
    assert sample.inputs["scan"].values == (0, 1, 2)
    assert sample.target.text == "3"
    assert data.about("test").task == "saying"  # as its evaluator says


def test_targets_of_a_said_kind_may_lie_in_files(table, folder):
    (folder / "said.txt").write_text("three")
    data = table("id,line,target:words,split", "a,0.line,said.txt,test")
    assert loaded(data)["a"].target.text == "three"
    assert data.cases("test")[0].files["target"] == (folder / "said.txt",)


def test_several_files_in_a_cell_are_channels(table):
    data = table("id,line,split", "a,0.line; 1.line,test", "b,2.line;3.line,test")
    assert loaded(data)["b"].inputs["line"].values == (2, 1, 2, 3, 1, 2)
    assert data.about("test").channels == {"line": ["1", "2"]}
    refused(lambda: table("id,line", "a,0.line;1.line", "b,2.line").splits(), "list.csv, line 3", "1 files", "have 2")


def test_a_column_says_a_setting_of_the_format_row_by_row(table):
    data = table("id,line,line.times,split", "a,0.line,3,test", "b,1.line,,test")
    assert [sample.inputs["line"].values for sample in loaded(data).values()] == [(0, 3, 6), (1, 1, 2)]
    mine, plain = data.cases("test")
    assert "line" in parts_of(mine)
    assert len(parts_of(mine)["line"]) == len(parts_of(plain)["line"]) + 1  # so that another value is another input
    refused(lambda: loaded(table("id,line,line.tmes", "a,0.line,3"), "train"), "tmes", "times")
    refused(lambda: table("id,line,lnie.times", "a,0.line,3").splits(), "'lnie.times'", "no input")


def test_an_entry_of_a_file_is_named_by_a_key_or_by_the_id(table, folder):
    (folder / "many.lines").write_text("a\t1 2\nx\t3 4\n")
    data = table("id,line,split", "a,many.lines,test", "b,many.lines#x,test")
    assert [sample.inputs["line"].values for sample in loaded(data).values()] == [(1, 2), (3, 4)]


def test_several_numbers_are_scores_by_name(table, folder):
    data = table("id,line,target:scores,split", 'a,0.line,"{""time"": 12.5, ""event"": 1}",test', "b,1.line,3,test")
    assert loaded(data)["a"].target.values == {"time": 12.5, "event": 1}
    assert loaded(data)["b"].target.values == {"target": 3}
    for wrong in ('"{""time"": ""soon""}"', '"{""time"": 1"', '"{}"'):
        refused(
            lambda wrong=wrong: table("id,line,target:scores", f"a,0.line,{wrong}").splits(), "line 2", "is no number"
        )


def test_numbers_are_scores_and_words_are_classes(table):
    numbers = table("id,line,target,split", "a,0.line,0.5,train", "b,1.line,2,test")
    assert numbers.about("test").target == "scores"
    assert numbers.about("test").task == "regression"
    assert loaded(numbers)["b"].target.values == {"target": 2}
    words = table("id,line,target,split", "a,0.line,sick,train", "b,1.line,healthy,test", "c,2.line,,test")
    about = words.about("test")
    assert (about.target, about.task, about.classes) == ("classes", "classification", {0: "healthy", 1: "sick"})
    found = loaded(words)
    assert found["b"].target.predicted == ("healthy",)
    assert found["c"].target is None
    assert [case.label for case in words.cases("test")] == ["healthy", None]
    numbered = table("id,line,target:classes,split", "a,0.line,1,test", "b,1.line,0,test")
    assert numbered.about("test").classes == {0: "0", 1: "1"}


def test_a_case_may_have_several_classes(table):
    data = table("id,line,target,split", "a,0.line,cyst; mass,test", "b,1.line,mass,test", "c,2.line,,test")
    assert data.about("test").classes == {0: "cyst", 1: "mass"}
    found = loaded(data)
    assert found["a"].target.predicted == ("cyst", "mass")
    assert found["b"].target.predicted == ("mass",)  # also what stands alone is of a table of several
    assert (found["b"].target.threshold, found["c"].target) == (0.5, None)
    assert [case.label for case in data.cases("test")] == [None, None, None]
    with pytest.raises(InputError, match="'mas' is none of the classes"):
        table("id,line,target,split", "a,0.line,cyst;mas,test", classes="cyst,mass").about("test")


def test_a_class_may_be_called_like_a_folder(table, folder):
    (folder / "sick").mkdir()
    data = table("id,line,target,split", "a,0.line,sick,test")
    assert data.about("test").target == "classes"


def test_classes_can_be_named_and_ordered(table):
    data = table("id,line,target,split", "a,0.line,sick,test", classes="sick,healthy")
    assert data.about("test").classes == {0: "sick", 1: "healthy"}
    with pytest.raises(InputError, match=r"list\.csv, line 2: 'ill' is none of the classes sick, healthy"):
        table("id,line,target,split", "a,0.line,ill,test", classes="sick,healthy").about("test")
    marked = table("id,line,target,split", "a,1.line,1-marks.line,test", classes="liver")
    assert marked.about("test").classes == {1: "liver"}
    assert loaded(marked)["a"].target.present() == {1: "liver"}


def test_without_a_column_split_groups_are_kept_together(table):
    rows = [f"{n},{n % 6}.line,p{n // 3}" for n in range(60)]
    data = table("id,line,group", *rows, val=0.2)
    assert data.splits() == ["train", "val", "test"]
    groups = {split: {case.group for case in data.cases(split)} for split in data.splits()}
    assert {split: len(found) for split, found in groups.items()} == {"train": 12, "val": 4, "test": 4}
    assert not groups["train"] & groups["test"] | groups["train"] & groups["val"] | groups["val"] & groups["test"]
    assert sorted(all_cases(data), key=int) == [str(n) for n in range(60)]
    reordered = table("id,line,group", *reversed(rows), name="other.csv", val=0.2)
    assert {case.id for case in reordered.cases("test")} == {case.id for case in data.cases("test")}
    other = table("id,line,group", *rows, name="third.csv", val=0.2, seed=1)
    assert {case.id for case in other.cases("test")} != {case.id for case in data.cases("test")}


def test_folds_hold_every_case_once(table):
    rows = [f"{n},{n % 6}.line" for n in range(20)]
    found = []
    for fold in range(4):
        data = table("id,line", *rows, folds=4, fold=fold, test=0)
        assert data.splits() == ["train", "val"]
        assert len(data.cases("train")) == 15
        found += [case.id for case in data.cases("val")]
    assert sorted(found, key=int) == [str(n) for n in range(20)]


def test_a_group_on_two_sides_is_told_by_verify_and_refused_in_use(table):
    data = table("id,line,group,split", "a,0.line,p1,train", "b,1.line,p1,test", "c,2.line,p2,test")
    assert data.about("test").cases == 2
    assert list(data.verify()) == ["The group (patient) 'p1' lies in train and test."]
    for use in (data.prepare, lambda: data.cases("test")):
        refused(use, "list.csv", "'p1' (train in line 2, test in line 3)", "in several splits")


def test_an_id_that_is_there_twice_is_told_and_refused(table):
    data = table("id,line,split", "a,0.line,train", "b,1.line,train", "a,2.line,train")
    assert any("1 id is there twice: 'a' (lines 2 and 4)" in problem for problem in data.verify())
    refused(data.prepare, "list.csv", "'a' (lines 2 and 4)")


def test_missing_files_are_counted_and_the_first_five_named(table):
    data = table("id,line,split", "a,0.line,train", *[f"m{n},gone-{n}.line,train" for n in range(7)])
    sentence = refused(lambda: data.digest("train"), "list.csv", "7 files are missing", "gone-4.line, ...")
    assert "gone-5" not in sentence
    assert "7 files are missing" in data.verify()[0].lower()
    assert len(data.cases("train")) == 8  # each fails alone where it is read
    with pytest.raises(InputError, match=r"gone-0\.line does not exist"):
        data.cases("train")[1].load()
    refused(lambda: table("id,line", "a,gone.line").splits(), "no file of the column 'line' is there; line 2:")


def test_the_digest_follows_rows_and_sizes_but_not_the_place(table, folder, tmp_path):
    rows = ["id,line,group,split", "a,0.line,p,train", "b,1.line,p,train", "c,2.line,q,test"]
    first = table(*rows)
    train, test = first.digest("train"), first.digest("test")
    (folder / "0.line").write_text("a longer line")
    assert table(*rows).digest("train") != train
    assert table(*rows).digest("test") == test
    (folder / "0.line").write_text("0 1 2")
    folder.rename(tmp_path / "moved")
    moved = omlab.load_dataset(f"cases:{tmp_path / 'moved' / 'list.csv'}")
    assert moved.digest("train") == train


MISTAKES = [
    (["name,line", "a,0.line"], ["line 1", "no column 'id'"]),
    (["Id,line", "a,0.line"], ["no column 'id'", "call the column 'Id' so"]),
    (["id", "a"], ["no column of an input"]),
    (["id,line", "a"], ["line 2 has 1 cells", "2 columns"]),
    (["id,line", ",0.line"], ["line 2 has no id"]),
    (["id,line"], ["no case"]),
    ([""], ["empty"]),
    (["id;line", "a;0.line"], ["separator", "commas"]),
    (["id,line,line", "a,0.line,1.line"], ["2 columns 'line'"]),
    (["id,line,", "a,0.line,"], ["column 3 has no name"]),
    (["id,line,Age", "a,0.line,63"], ["'Age' cannot be the name of an input", "data.meta=Age"]),
    (["id,line,age", "a,0.line,63"], ["line 2, column 'age'", "63 does not exist", "data.meta=age"]),
    (["id,line,note:wrods", "a,0.line,x"], ["line 1, column 'note:wrods'", "did you mean 'words'"]),
    (["id,line,extra", "a,0.line,"], ["anything in the column 'extra'"]),
    (["id,line,split", "a,0.line,"], ["line 2", "has no split"]),
    (["id,line,target", "a,0.line,0.5", "b,1.line,high"], ["line 3", "'high' is no number", "target:classes"]),
    (["id,line", 'a,"0.line'], ["line 2 is no line of a CSV file"]),
    (["id,line", '"a"b,0.line'], ["line 2 is no line of a CSV file"]),
]


@pytest.mark.parametrize(("lines", "words"), MISTAKES)
def test_mistakes_are_one_sentence_with_file_and_line(table, lines, words):
    refused(lambda: table(*lines).splits(), "list.csv", *words)


def test_bytes_that_are_no_text_name_their_line(table, folder):
    data = table("id,line", "a,0.line", "b,1.line")
    (folder / "list.csv").write_bytes(b"id,line\na,0.line\n\xe9,1.line\n")
    refused(data.splits, "line 3 is not UTF-8")
    (folder / "list.csv").write_bytes("id,line\na,0.line\n".encode("utf-16"))
    refused(omlab.load_dataset(f"cases:{folder / 'list.csv'}").splits, "line 1 is not UTF-8")


def test_bom_crlf_quotes_blank_lines_and_no_last_newline(table, folder):
    data = table("id,line,note:words,split", "a,0.line,x,test")
    text = (
        '\ufeffid, line ,note:words,split\r\n\r\n"a, b", 0.line , "two\r\nlines ""quoted""",test\r\n c ,1.line,x,test'
    )
    (folder / "list.csv").write_bytes(text.encode())
    found = loaded(data)
    assert list(found) == ["a, b", "c"]
    assert found["a, b"].inputs["note"].text == 'two\r\nlines "quoted"'


def test_json_lines_are_the_same(table):
    rows = [
        {"id": "a", "line": ["0.line", "1.line"], "note:words": "x", "split": "test"},
        {"id": 7, "line": "2.line;3.line", "target": 1.5, "split": "test", "group": "p"},
    ]
    data = table(*map(json.dumps, rows), name="list.jsonl")
    found = loaded(data)
    assert list(found) == ["a", "7"]
    assert found["a"].inputs["note"].text == "x"
    assert found["7"].inputs.keys() == {"line"}
    assert found["7"].target.values == {"target": 1.5}
    assert found["a"].target is None
    refused(table("{}", name="x.jsonl").splits, "x.jsonl", "no case")
    refused(table('{"id": "a", "line": 5}', name="x.jsonl").splits, "x.jsonl, line 1, column 'line'", "5 is no path")
    refused(table('{"id": [1], "line": "0.line"}', name="x.jsonl").splits, "x.jsonl, line 1 has no id")
    listed = {"id": "a", "line": "0.line", "target": ["x", "y"]}
    refused(table(json.dumps(listed), name="x.jsonl").splits, "x.jsonl, line 1: say the kind of such a target")
    refused(table('{"id": "a"', name="x.jsonl").splits, "x.jsonl, line 1 is not JSON")


def test_what_is_no_table_is_refused(folder):
    (folder / "list.xlsx").write_text("")
    refused(omlab.load_dataset(f"cases:{folder / 'list.xlsx'}").splits, "list.xlsx", ".csv or .jsonl")
    refused(omlab.load_dataset(f"cases:{folder}").splits, "is a folder")
    refused(lambda: omlab.load_dataset(f"cases:{folder / 'none.csv'}"), "none.csv does not exist")
    refused(lambda: omlab.load_dataset("cases"), "say where they are")


def test_other_columns_are_kept_where_they_are_named(table):
    data = table("id,line,Age,split", "a,0.line,63,test", meta="Age")
    assert data.about("test").inputs == {"line": "line"}
    assert loaded(data)["a"].meta == {"Age": "63"}
    refused(lambda: table("id,line", "a,0.line", meta="sex").splits(), "no column 'sex'")


def test_an_unknown_split_is_told_with_what_there_is(table):
    with pytest.raises(UsageError, match="no split 'tset': did you mean 'test'"):
        table("id,line,split", "a,0.line,test").about("tset")


def test_cases_are_lazy_light_and_picklable(table, folder):
    data = table("id,line,target,group,split", *[f"{n},{n}.line,{n}-marks.line,p,test" for n in range(6)])
    cases = data.cases("test")
    alone, together = (ForkingPickler.loads(ForkingPickler.dumps(part)) for part in (cases[2], cases))
    assert (alone.id, alone.group) == ("2", "p")
    assert alone.load() == together[2].load() == cases[2].load()
    assert [case.id for case in cases[4:]] == ["4", "5"]
    assert cases[-1].id == "5"
    (folder / "list.csv").write_text("id,line,target,group,split\n")
    refused(lambda: cases[0].files, "list.csv was changed while it was in use")


def test_own_files_are_predicted_whole_and_evaluated_by_their_split(table, folder):
    rows = [f"{n},{n}.line,!,{n + 3},{'test' if n > 3 else 'train'}" for n in range(6)]
    table("id,line,note:words,target:words,split", *rows)
    name = f"cases:{folder / 'list.csv'}"
    outcome = omlab.predict("sum.untrained", data=name, output="out")
    assert sorted(path.name for path in Path("out").glob("*.txt")) == [f"{n}.txt" for n in range(6)]
    assert Path("out/5.txt").read_text() == "8!"
    assert outcome.exit_status == 0
    assert omlab.predict("sum.untrained", data=name, output="out").was_complete
    report = omlab.evaluate("sum.untrained", name, output="report").report
    assert (report.metrics[0].n, report.metrics[0].value) == (2, 0)
    some = omlab.predict("sum.untrained", data=name, split="test", output="some")
    assert sorted(record.id for record in some) == ["4", "5"]


def test_a_table_of_values_alone_is_done_again_when_a_value_changes(table, folder):
    rows = ["id,line,note:words", "a,0.line,!"]
    table(*rows)
    omlab.predict("sum.untrained", data="cases:list.csv", output="out")
    table("id,line,note:words", "a,0.line,?")
    omlab.predict("sum.untrained", data="cases:list.csv", output="out")
    assert Path("out/a.txt").read_text() == "3?"


def test_episodes_are_drawn_by_the_classes_in_the_table(table):
    rows = [
        f"{n},{n % 6}.line,{'sick' if n % 3 else 'healthy'},p{n},{'test' if n > 25 else 'train'}" for n in range(30)
    ]
    data = table("id,line,target,group,split", *rows)
    for episode in omlab.episodes(data, [2, 4], [0, 1]):
        labels = [case.label for case in episode.cases("train")]
        assert sorted(labels) == ["healthy"] * episode.shots + ["sick"] * episode.shots
        assert episode.about("train").classes == {0: "healthy", 1: "sick"}
        assert len(episode.cases("test")) == 4
