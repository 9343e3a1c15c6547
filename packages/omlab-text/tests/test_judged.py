"""Questions with options and texts from files, judged by the command line."""

import csv
import json

import pytest
from click.testing import CliRunner
from servers import serving

from omlab.cli.app import build
from omlab.datasets import open_dataset
from omlab.errors import InputError

QUESTIONS = [
    {"id": "q1", "question": "What is fever?", "options": ["Heat", "Cold", "Cough"], "answer": "A", "subject": "signs"},
    {
        "id": "q2",
        "question": "What helps?",
        "options": {"A": "Salt", "B": "Rest"},
        "answer": "Rest",
        "system": "Brief.",
    },
]
TEXTS = [
    {"text": "The patient has a fever."},
    {"messages": [{"role": "user", "content": "Fever?"}, {"role": "assistant", "content": "See a doctor."}]},
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rows in {"choices": QUESTIONS, "texts": TEXTS}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(*words):
    return CliRunner().invoke(build(), list(words))


def samples(name, **settings):
    data = open_dataset(f"{name}:{name}.jsonl", root=None, settings=settings).dataset
    data.prepare()
    return {case.id: case.load() for case in data.cases("test")}


@pytest.mark.usefixtures("place")
def test_a_question_lists_its_options_and_letters_answer_it():
    found = samples("choices")
    turns = [turn.text for turn in found["q2"].inputs["chat"].turns]
    assert turns[0] == "Brief."
    assert turns[1].splitlines()[:3] == ["What helps?", "A. Salt", "B. Rest"]
    assert found["q2"].inputs["options"].texts == ("A", "B")
    assert (found["q1"].target.answer, found["q2"].target.answer) == (0, 1)


@pytest.mark.usefixtures("place")
def test_options_may_be_scored_by_their_texts():
    found = samples("choices", shown="texts")
    assert found["q1"].inputs["chat"].turns[0].text == "What is fever?"
    assert found["q1"].inputs["options"].texts == ("Heat", "Cold", "Cough")


@pytest.mark.usefixtures("place")
def test_rotations_put_each_option_first_once_and_are_one_group():
    found = samples("choices", rotations=True)
    assert list(found) == ["q1", "q1+1", "q1+2", "q2", "q2+1"]
    firsts = [found[id].inputs["chat"].turns[-1].text.splitlines()[1] for id in ("q1", "q1+1", "q1+2")]
    assert firsts == ["A. Heat", "A. Cold", "A. Cough"]
    assert [found[id].target.answer for id in ("q1", "q1+1", "q1+2")] == [0, 2, 1]
    assert {found[id].group for id in ("q1", "q1+1", "q1+2")} == {"q1"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "x", "options": ["a", "b"], "answer": "F"}, "answer: 'F' is no letter of A to B"),
        ({"question": "x", "options": ["a", "b"], "answer": 2}, "answer: 2 is none of the 2 options"),
        ({"question": "x", "options": ["a", "b"]}, "answer: it is missing"),
        ({"question": "x", "options": ["a"], "answer": 0}, "options: there are 1"),
        ({"question": "x", "options": ["a", "a"], "answer": 0}, "options: two of them are the same"),
        ({"question": "x", "options": {"B": "a", "A": "b"}, "answer": 0}, "options: their letters are B, A"),
        ({"question": "x", "options": "ab", "answer": 0}, "options: they must be a list"),
        ({"question": 7, "options": ["a", "b"], "answer": 0}, "question: it must be a text"),
        ({"options": ["a", "b"], "answer": 0}, "question: it is missing"),
        ({**QUESTIONS[0], "subject": 3}, "subject: it must be a text"),
        (QUESTIONS[0], "the id 'q1' is that of line 1 already"),
    ],
)
def test_a_wrong_row_is_told_by_line_and_field(place, row, said):
    with (place / "choices.jsonl").open("a") as stream:
        stream.write("\n" + json.dumps(row))
    with pytest.raises(InputError, match=rf"choices.jsonl, line 4.*{said}"):
        samples("choices")


def test_a_question_without_an_answer_is_no_text(place):
    (place / "texts.jsonl").write_text('{"question": "Fever?"}')
    with pytest.raises(InputError, match="line 1 cannot be used: it is neither a text nor a chat with an answer"):
        samples("texts")


def test_a_local_model_is_judged_by_likelihoods(place):
    words = ["--data", "choices:choices.jsonl", "-s", "data.rotations=true", "-s", "bootstrap=20", "-o", "report"]
    found = run("evaluate", "causal-lm.untrained", *words)
    assert found.exit_code == 0, found.output
    report = json.loads((place / "report/report.json").read_text())
    values = {metric["name"]: metric["value"] for metric in report["metrics"] if metric["label"] is None}
    rows = list(csv.DictReader((place / "report/cases.csv").read_text().splitlines()))
    assert values["accuracy"] == sum(int(row["right"]) for row in rows) / 5
    assert {"ece", "changed", "always_right", "accuracy_byte"} <= values.keys()
    assert "When options are rotated" in (place / "report/report.html").read_text()


def test_written_answers_of_a_server_are_judged_and_so_are_recorded_ones(place):
    with serving() as (url, server):
        server_of = ["-s", f"model.url={url}", "-s", "model.model=m"]
        found = run("evaluate", "endpoint", *server_of, "--data", "choices:choices.jsonl", "-o", "report")
        assert found.exit_code == 0, found.output
        asked = len(server.asked)
        made = run("generate", "endpoint", *server_of, "--data", "choices:choices.jsonl", "-o", "answers")
        assert made.exit_code == 0, made.output
    assert asked == 2
    again = run("evaluate", "--predictions", "answers", "--data", "choices:choices.jsonl", "-o", "again")
    assert again.exit_code == 0, again.output
    reports = [json.loads((place / name / "report.json").read_text())["metrics"] for name in ("report", "again")]
    assert reports[0] == reports[1]
    assert {metric["name"] for metric in reports[0]} == {"accuracy", "unread"}


def test_answers_in_one_file_are_judged_whoever_wrote_it(place):
    with serving() as (url, _):
        words = ["-s", f"url={url}", "-s", "model.model=m", "--data", "choices:choices.jsonl", "-o", "answers.jsonl"]
        assert run("generate", "endpoint", *words).exit_code == 0
    answers = [(place / "answers.jsonl").read_text(), json.dumps({"id": "q1", "messages": [
        {"role": "user", "content": "?"}, {"role": "assistant", "content": "A"},
    ]})]  # fmt: skip
    (place / "theirs.jsonl").write_text(answers[1])
    scored = {"id": "q1", "likelihoods": [{"text": letter, "logprob": -1, "tokens": 1} for letter in "ABC"]}
    (place / "scored.jsonl").write_text(json.dumps(scored))
    for name, model, done, metric in (
        ("answers", "endpoint.server", 2, "accuracy"),
        ("theirs", None, 1, "unread"),
        ("scored", None, 1, "ece"),
    ):
        found = run("evaluate", "--predictions", f"{name}.jsonl", "--data", "choices:choices.jsonl", "-o", name)
        assert found.exit_code == int(done < 2), found.output
        judged = json.loads((place / name / "run.json").read_text())["request"]["model"]
        assert (judged and judged["name"]) == model
        metrics = json.loads((place / name / "report.json").read_text())["metrics"]
        assert [row["n"] for row in metrics if (row["name"], row["label"]) == (metric, None)] == [done]


def test_texts_are_judged_by_the_byte(place):
    found = run("evaluate", "causal-lm.untrained", "--data", "texts:texts.jsonl", "-o", "report")
    assert found.exit_code == 0, found.output
    metrics = json.loads((place / "report/report.json").read_text())["metrics"]
    assert [metric["name"] for metric in metrics] == ["bits_per_byte", "perplexity"]
    rows = list(csv.DictReader((place / "report/cases.csv").read_text().splitlines()))
    assert [int(row["bytes"]) for row in rows] == [24, 13]
