"""Preferences and prompts from files: what may stand in a line, where it falls, and what is said of a wrong one."""

import json

import pytest
from labelling import labelling

from omlab.datasets import open_dataset
from omlab.errors import InputError
from omlab_text.label.handing import hand_out
from omlab_text.label.labels import Label
from omlab_text.label.records import export
from omlab_text.ranked import Ranking

PAIR = {"prompt": "Fever?", "chosen": "Rest.", "rejected": "Run."}


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def opened(name, path, **settings):
    data = open_dataset(f"{name}:{path}", root=None, settings=settings).dataset
    data.prepare()
    return data


def test_what_the_labelling_page_exports_is_read(tmp_path):
    store = labelling(tmp_path, questions=1, twice=1.0)
    label = Label(state="done", ranks={"m0": 2, "m1": 1, "m2": 1, "m3": 3}, scores={"m1": {"safe": 9}})
    for annotator in ("ann", "ben"):
        account = store.account(store.add_account(annotator, "annotator"))
        assert hand_out(store, account, store.questions()) == "q00"
        store.put("q00", annotator, label)
    assert export(store, tmp_path / "preferences.jsonl") == 2
    cases = opened("preferences", tmp_path / "preferences.jsonl", val="0").cases("train")
    assert [case.id for case in cases] == ["q00-ann", "q00-ben"]
    sample = cases[0].load()
    assert sample.target.ranks == (2, 1, 1, 3)
    assert sample.target.texts[1] == "answer 1 to 0"
    assert sample.target.scores[1] == {"safe": 9}
    assert sample.meta["area"] == "radiology"
    assert sample.inputs["chat"].turns[-1].text == "Question 0?"


def test_a_pair_is_a_ranking_of_two():
    found = Ranking.from_value({**PAIR, "margin": 0.5})
    assert found == Ranking(texts=("Rest.", "Run."), ranks=(1, 2), margin=0.5)
    messages = {name: [{"role": "assistant", "content": PAIR[name]}] for name in ("chosen", "rejected")}
    assert Ranking.from_value(messages) == Ranking(texts=("Rest.", "Run."), ranks=(1, 2))


def test_the_lines_of_one_question_fall_to_one_split(tmp_path):
    rows = [{**PAIR, "id": f"q{number // 2}", "annotator": f"a{number % 2}"} for number in range(60)]
    data = opened("preferences", lines(tmp_path / "p.jsonl", *rows), val="0.3")
    train, val = ({case.group for case in data.cases(split)} for split in ("train", "val"))
    assert len(val) == 9
    assert not train & val
    assert len(train) == 21


def test_a_row_may_name_its_split(tmp_path):
    data = opened(
        "prompts", lines(tmp_path / "p.jsonl", {"question": "a", "split": "test"}, {"question": "b"}), val="0"
    )
    assert [case.load().inputs["chat"].turns[0].text for case in data.cases("test")] == ["a"]
    assert data.splits() == ["train", "test"]


def test_a_prompt_may_have_an_answer_to_compare_with(tmp_path):
    (case,) = opened("prompts", lines(tmp_path / "p.jsonl", {"question": "a", "answer": "b"}), val="0").cases("train")
    assert case.load().target.text == "b"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a", "answers": [{"id": "x", "text": "b"}], "ranks": {"x": 1}}, "there are 1, but only 2 or more"),
        ({"prompt": "a", "chosen": "b"}, "rejected: Field required"),
        ({"chosen": "a", "rejected": "b"}, "A chat has one of the fields"),
        ({**PAIR, "prompt": [{"role": "assistant", "content": "b"}]}, "there is nothing to answer"),
        ({**PAIR, "margin": -1}, "margin: -1"),
        ({**PAIR, "split": "exam"}, "split: it is 'exam'"),
        ({**PAIR, "chosen": [{"role": "user", "content": "b"}]}, "chosen: it must be a text, or the one message"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path, row, said):
    path = lines(tmp_path / "p.jsonl", PAIR, row)
    with pytest.raises(InputError, match="line 2 cannot be used") as told:
        opened("preferences", path)
    assert said in str(told.value)


def test_ranks_go_by_the_ids_of_answers():
    answers = [{"id": "x", "text": "a"}, {"id": "y", "text": "b"}]
    with pytest.raises(InputError, match="the answer 'y' has none"):
        Ranking.from_value({"answers": answers, "ranks": {"x": 1}})
    with pytest.raises(InputError, match="there is no answer 'z'"):
        Ranking.from_value({"answers": answers, "ranks": {"x": 1, "y": 2, "z": 3}})
