"""From models to the leaderboard in one command: answers of models here and at a server, resumed, and told apart."""

import json

import pytest
from click.testing import CliRunner

from omlab.cli.app import build
from omlab.errors import InputError, OmlabError, OutputError, SettingsError, UsageError
from omlab_pulse_eval.answering import answerers
from omlab_pulse_eval.answers import read_answers
from omlab_pulse_eval.evaluation import evaluate

QUESTIONS = [
    {"id": "q1", "question": "What is fever?", "reference_answer": "A symptom."},
    {"question": "What helps?"},
    {"id": "q0", "messages": [
        {"role": "user", "content": "My arm hurts."}, {"role": "assistant", "content": "Since when?"},
        {"role": "user", "content": "Today."},
    ]},
]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exam.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return tmp_path


def says(number, prompt):
    """A judge that likes the first seat, and models whose answers differ."""
    return "8 7\nbecause" if "<<answer 1" in prompt else f"answer number {number}"


def run(url, *words):
    judge = ["--judge", "endpoint", "--judge-url", url, "--judge-model", "j", "--per-pair", "2", "--rounds", "5"]
    servers = [
        f"--set={name}.{key}={value}" for name in ("one", "two") for key, value in (("url", url), ("model", name))
    ]
    models = ["--models", "one=endpoint,two=endpoint", "--questions", "exam.jsonl"]
    return CliRunner().invoke(build(), ["pulse-eval", *models, *servers, *judge, *words, "-o", "board"])


def test_two_servers_and_a_judge_make_a_board(place, judge):
    judge.script = says
    done = run(judge.url, "--forms", "exam=reference")
    assert done.exit_code == 0, done.output
    report = json.loads((place / "board" / "report.json").read_text())
    assert set(report["models"]) == {"one", "two"}
    assert report["sets"]["exam"]["battles"] == 2
    assert sum("<<answer 1" not in prompt for prompt in judge.prompts) == 2 * len(QUESTIONS)
    assert any("A symptom." in prompt for prompt in judge.prompts if "What is fever?" in prompt)
    asked = len(judge.prompts)
    assert run(judge.url, "--forms", "exam=reference").exit_code == 0
    assert len(judge.prompts) == asked  # all is there


def test_what_a_model_did_not_answer_is_told_and_asked_again_alone(place, judge):
    judge.script = lambda number, prompt: 500 if "What helps" in prompt else says(number, prompt)
    done = run(judge.url, "-s", "retries=0")
    assert isinstance(done.exception, OmlabError)
    assert "one left 1 of 3 questions of exam without an answer; the first is 000002" in str(done.exception)
    assert not (place / "board").exists()
    judge.script, before = says, len(judge.prompts)
    assert run(judge.url, "-s", "retries=0").exit_code == 0
    assert sum("<<answer 1" not in prompt for prompt in judge.prompts[before:]) == 1 + len(QUESTIONS)


def test_answers_of_other_settings_are_not_mixed_in(place, judge):
    judge.script = says
    assert run(judge.url).exit_code == 0
    done = run(judge.url, "-s", "temperature=0.5")
    assert isinstance(done.exception, OutputError)
    assert "another request" in str(done.exception)


@pytest.mark.slow  # imports transformers
def test_two_small_models_on_this_machine(place, judge):
    pytest.importorskip("transformers")
    judge.script = says
    outcome = evaluate(
        {
            "models": ["short=causal-lm.untrained", "long=causal-lm.untrained"], "questions": "exam.jsonl", "rounds": 5,
            "judge": "endpoint", "judge_url": judge.url, "judge_model": "j", "per_pair": 2, "device": "cpu",
        },
        output="board",
        model_settings={"short.max_tokens": 4, "long.max_tokens": 8},
    )  # fmt: skip
    assert set(outcome.report.details["models"]) == {"short", "long"}
    files = {name: place / "board-answers" / "exam" / name / "generate.jsonl" for name in ("short", "long")}
    found = read_answers("exam", files, questions=place / "exam.jsonl")
    assert found.questions == [
        "What helps?",
        "user: My arm hurts.\nassistant: Since when?\nuser: Today.",
        "What is fever?",
    ]
    assert found.references == ["", "", "A symptom."]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("models", "given", "error", "said"),
    [
        (["a=endpoint", "a=causal-lm"], {}, UsageError, "Two models are called 'a'"),
        (["a/b=endpoint"], {}, UsageError, "'a/b=endpoint' among the models must be MODEL or NAME=MODEL"),
        (["a="], {}, UsageError, "must be MODEL or NAME=MODEL"),
        (["causal-ml"], {}, OmlabError, "causal-lm"),
        (["a=endpoint"], {"b.url": "x"}, SettingsError, "'b.url' is a setting of none of the models"),
        (["a=endpoint"], {"a.urn": "x"}, SettingsError, "There is no setting 'urn'"),
        (["a=endpoint"], {"warmth": "1"}, SettingsError, "None of the models has a setting 'warmth'"),
    ],
)
def test_a_wrong_model_or_setting_is_one_sentence(models, given, error, said):
    with pytest.raises(error, match=said):
        answerers(models, given)


def test_a_setting_without_a_name_is_for_all_that_have_it():
    one, two = answerers(["x.y=endpoint", "z=causal-lm.untrained"], {"budget": "9", "x.y.url": "u", "seed": "3"})
    assert (one.name, one.settings, one.options) == ("x.y", {"url": "u"}, {"seed": "3"})
    assert (two.settings, two.options) == ({}, {"budget": "9", "seed": "3"})


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"questions": "nowhere.jsonl"}, InputError, r"nowhere\.jsonl is neither a file of questions nor a folder"),
        ({"questions": "exam.jsonl"}, UsageError, "needs two models or more"),
        ({"questions": "exam.jsonl", "models": ["a=endpoint", "b=endpoint"]}, UsageError, "The judge is ''"),
        ({"battles": ["x.csv"], "model_settings": 1}, UsageError, "name a file of --questions"),
    ],
)
def test_what_could_not_be_judged_is_not_answered(settings, error, said):
    given = {"a.url": "http://127.0.0.1:9/v1"} if settings.pop("model_settings", None) else {}
    with pytest.raises(error, match=said):
        evaluate(settings, output="board", model_settings=given)
