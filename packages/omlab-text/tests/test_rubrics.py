"""The data set `rubrics`, and answers judged by a server from the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from servers import heard, serving

from omlab.cli.app import build
from omlab.datasets import open_dataset
from omlab.errors import InputError

ROWS = [
    {"id": "q1", "question": "What is fever?", "criteria": [{"criterion": "Says what it is.", "points": 5}]},
    {
        "prompt_id": "p2",
        "prompt": [{"role": "user", "content": "My arm hurts."}],
        "rubrics": [{"criterion": "Advises a doctor.", "points": 3, "tags": ["axis:accuracy"]}],
        "example_tags": ["theme:emergency"],
    },
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("q.jsonl", ROWS)
    return tmp_path


def write(name, rows):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def samples(**settings):
    data = open_dataset("rubrics:q.jsonl", root=None, settings=settings).dataset
    data.prepare()
    return {case.id: case.load() for case in data.cases("test")}, data.digest("test")


def texts(sample):
    return [criterion.text for criterion in sample.target.criteria]


@pytest.mark.usefixtures("place")
def test_rows_of_ours_and_of_healthbench_are_read():
    found, _ = samples()
    assert list(found) == ["q1", "p2"]
    assert found["p2"].meta["tags"] == ("theme:emergency",)
    assert found["p2"].target.criteria[0].tags == ("axis:accuracy",)
    assert found["p2"].inputs["chat"].turns[0].text == "My arm hurts."


@pytest.mark.usefixtures("place")
def test_further_criteria_are_for_all_questions_or_for_one():
    rows = [
        {"criterion": "Is kind.", "points": 1},
        {"criterion": "Claims to be a doctor.", "points": -4, "question": "p2"},
    ]
    write("more.jsonl", rows)
    found, digest = samples(criteria="more.jsonl")
    assert texts(found["q1"]) == ["Says what it is.", "Is kind."]
    assert texts(found["p2"]) == ["Advises a doctor.", "Is kind.", "Claims to be a doctor."]
    write("more.jsonl", rows[:1])
    assert samples(criteria="more.jsonl")[1] != digest
    write("more.jsonl", [{**rows[1], "question": "q9"}])
    with pytest.raises(InputError, match=r"more\.jsonl has criteria for 'q9', which q\.jsonl does not ask"):
        samples(criteria="more.jsonl")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"criteria": []}, "none of them gives points"),
        ({"criteria": [{"criterion": "x", "points": -1}]}, "none of them gives points"),
        ({"criteria": [{"criterion": "x", "points": 0}]}, "criterion 1: points: they are 0"),
        ({"criteria": [{"criterion": "x", "points": True}]}, "criterion 1: points: they are True"),
        ({"criteria": [{"points": 1}]}, "criterion 1: criterion: it must be a text"),
        ({"criteria": [{"criterion": "x", "points": 1, "tags": "a"}]}, "criterion 1: tags: they must be a list"),
        ({"criteria": [{"criterion": "x", "points": 1, "experts": {"a": 1}}]}, "criterion 1: experts: they must be"),
        ({"criteria": "x"}, "criteria: they must be a list"),
        ({"question": " "}, "line 1"),
    ],
)
def test_a_wrong_row_is_one_sentence_with_its_line(more, said):
    write("q.jsonl", [ROWS[0] | more])
    with pytest.raises(InputError, match=rf"q\.jsonl, line 1 cannot be used: .*{said}" if said != "line 1" else said):
        samples()


def judge(body):
    """Meets what is about fever; writes rubbish at the first time of asking."""
    if body["model"] != "judge":
        return heard(body)
    if len(body["messages"]) == 2:
        return "It does."
    return json.dumps({"reason": "because", "met": "Says what it is" in body["messages"][1]["content"]})


@pytest.mark.usefixtures("place")
def test_a_model_is_judged_by_a_server_that_is_asked_nothing_twice():
    with serving(says=judge) as (url, server):
        words = ["evaluate", "endpoint", "-s", f"model.url={url}", "-s", "model.model=m", "--data", "rubrics:q.jsonl"]
        words += ["-s", "judge=endpoint", "-s", f"judge_url={url}", "-s", "judge_model=judge", "-s", "bootstrap=10"]
        done = CliRunner().invoke(build(), [*words, "-o", "one"])
        assert done.exit_code == 0, done.output
        report = json.loads(Path("one/report.json").read_text())
        assert report["metrics"][0]["value"] == 0.5
        asked = [json.dumps(body) for body in server.asked if body["model"] == "judge"]
        assert len(asked) == len(set(asked)) == 4
        assert CliRunner().invoke(build(), [*words, "-o", "two"]).exit_code == 0
        assert sum(body["model"] == "judge" for body in server.asked) == 4
