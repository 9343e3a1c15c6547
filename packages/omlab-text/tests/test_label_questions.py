import json

import pytest
from click.testing import CliRunner
from labelling import SETTINGS, labelling, write_answers

from omlab.errors import InputError, SettingsError, UsageError
from omlab_text.label.agreement import alpha, tau_b
from omlab_text.label.command import label
from omlab_text.label.handing import IDLE_SECONDS, hand_out, is_labelled_twice, next_question
from omlab_text.label.labels import Label
from omlab_text.label.questions import load_deidentify, read_questions
from omlab_text.label.store import Store

IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "chest.png"}}]}


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_chats_of_several_models_with_one_id_are_one_question(tmp_path):
    files = []
    for model in ("pulse", "llama"):
        turns = [{"role": "user", "content": "Fever?"}, {"role": "assistant", "content": f"{model} says"}]
        files.append(written(tmp_path / f"{model}.jsonl", {"id": "q", "messages": turns, "made": {"model": model}}))
    (question,) = read_questions(files)
    assert question.prompt == ({"role": "user", "content": "Fever?"},)
    assert [(answer.id, answer.text, answer.model) for answer in question.answers] == [
        ("a1", "pulse says", "pulse"),
        ("a2", "llama says", "llama"),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "a?", "answers": ["one"]}, "line 2: the question has 1 answers, but 2 to 12"),
        ({"question": "a?", "answers": ["x"] * 13}, "line 2: the question has 13 answers"),
        ({"answers": ["a", "b"]}, "line 2 cannot be used: A chat has one of the fields"),
        ({"question": "a?", "answers": [{"text": 1}]}, r"line 2 cannot be used: answers\.0"),
        ({"question": "a?", "answers": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}, "same id"),
        (
            {"id": "\ud800", "question": "a?", "answers": ["a", "b"]},
            "line 2 cannot be used: Its 'id' holds",
        ),
        ({"prompt": [IMAGE], "answers": ["a", "b"]}, "line 2 cannot be used: A turn shows images"),
        ({"question": "a?"}, "line 2 cannot be used: It has no field 'answers'"),
        ({"id": "q00", "question": "b?", "answers": ["a", "b"]}, "line 2 cannot be used: The id 'q00' was used before"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(row, said, tmp_path):
    path = write_answers(tmp_path / "answers.jsonl", questions=1)
    path.write_text(path.read_text() + json.dumps(row) + "\n")
    with pytest.raises(InputError, match=said) as error:
        read_questions([path])
    assert str(path) in str(error.value)


def test_everything_that_is_shown_goes_through_the_hook(tmp_path):
    row = {"id": "q", "question": "Mr Smith?", "answers": ["Smith is well", "Ask Smith"]}
    path = written(tmp_path / "answers.jsonl", row)
    (question,) = read_questions([path], deidentify=lambda text: text.replace("Smith", "NAME"))
    assert "Smith" not in json.dumps(question.to_value())
    with pytest.raises(InputError, match="line 1: what de-identifies gave NoneType"):
        read_questions([path], deidentify=lambda text: None)
    with pytest.raises(InputError, match="line 1: what de-identifies failed: ZeroDivisionError"):
        read_questions([path], deidentify=lambda text: str(1 / 0))


@pytest.mark.parametrize("name", ["nowhere:f", "json:nothing", "json", ":f", ".:f", "json:__name__"])
def test_a_hook_that_cannot_be_is_refused(name):
    with pytest.raises(SettingsError, match="The setting 'deidentify' is"):
        load_deidentify(name)


def test_reading_again_adds_what_is_new_and_refuses_what_differs(tmp_path):
    store = labelling(tmp_path, questions=2)
    assert store.add_questions(read_questions([write_answers(tmp_path / "more.jsonl", questions=3)])) == 1
    changed = read_questions([write_answers(tmp_path / "changed.jsonl", questions=4, text="other {answer}")])
    with pytest.raises(InputError, match="holds the question 'q00' with another text"):
        store.add_questions(changed)
    assert [question.id for question in store.questions()] == ["q00", "q01", "q02"]


def test_settings_are_those_of_the_first_start(tmp_path):
    store = labelling(tmp_path, seed=5)
    assert store.begin(SETTINGS, given={})["seed"] == 5
    with pytest.raises(UsageError, match="was begun with seed=5"):
        store.begin(SETTINGS, given={"seed": 0})


def test_one_server_a_file(tmp_path):
    store = labelling(tmp_path)
    with store.served(), pytest.raises(UsageError, match="is served already"), Store(store.path).served():
        pass
    with store.served():
        pass


def test_another_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no"):
        Store(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("not a database " * 100)
    with pytest.raises(InputError, match="cannot be used as a file of labels"):
        Store(tmp_path / "text.sqlite")


def test_the_share_labelled_twice_is_about_what_was_asked():
    drawn = [is_labelled_twice(f"q{n}", share=0.3, seed=1) for n in range(1000)]
    assert 0.25 < sum(drawn) / 1000 < 0.35
    assert all(is_labelled_twice(f"q{n}", share=1.0, seed=1) for n in range(100))
    assert not any(is_labelled_twice(f"q{n}", share=0.0, seed=1) for n in range(100))


def test_tau_b_counts_ties():
    # 6 pairs: 4 concordant, none discordant, one tied in each: 4 / sqrt(5 * 5)
    assert tau_b({"a": 1, "b": 1, "c": 2, "d": 3}, {"a": 1, "b": 2, "c": 3, "d": 3}) == pytest.approx(0.8)
    assert tau_b({"a": 1, "b": 1}, {"a": 1, "b": 2}) is None


def test_alpha_is_krippendorffs():
    # the example of four observers and twelve units in Krippendorff (2011), section C
    nothing = None
    table = {
        "A": [1, 2, 3, 3, 2, 1, 4, 1, 2, nothing, nothing, nothing],
        "B": [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nothing, 3],
        "C": [nothing, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nothing],
        "D": [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nothing],
    }
    values = {
        (name, ("q", f"u{unit:02d}")): value
        for name, row in table.items()
        for unit, value in enumerate(row)
        if value is not nothing
    }
    assert alpha(values, level="ordinal") == pytest.approx(0.815, abs=5e-4)
    assert alpha(values, level="interval") == pytest.approx(0.849, abs=5e-4)
    assert alpha(dict.fromkeys(values, 1), level="ordinal") is None
    assert alpha({}, level="interval") is None


def test_a_question_that_somebody_opened_and_left_is_handed_to_another(tmp_path):
    store = labelling(tmp_path, questions=1)
    for name in ("ann", "bob"):
        store.add_account(name, "annotator")
    ann, bob = store.accounts()
    assert hand_out(store, ann, store.questions()) == "q00"

    def open_to_bob(*, after):
        now = store.entries()[0].changed + after
        return next_question(bob, store.questions(), store.entries(), settings=store.settings(), now=now)

    assert open_to_bob(after=60) is None
    assert open_to_bob(after=IDLE_SECONDS + 1) == "q00"
    store.put("q00", "ann", Label(state="draft", ranks={"m0": 1}))
    assert open_to_bob(after=IDLE_SECONDS + 1) is None


def test_accounts_and_export_by_the_command(tmp_path):
    store = labelling(tmp_path)
    place = ["--store", str(store.path)]
    made = CliRunner().invoke(label, ["account", "ann", *place])
    token = made.output.strip().rpartition("#")[2]
    assert store.account(token).name == "ann"
    other = CliRunner().invoke(label, ["account", "ann", "--role", "admin", *place])
    assert "'ann' is there as annotator" in str(other.exception)
    exported = CliRunner().invoke(label, ["export", "-o", str(tmp_path / "p.jsonl"), *place])
    assert exported.output == f"{tmp_path / 'p.jsonl'}: 0 rankings\n"
    told = CliRunner().invoke(label, ["agreement", *place])
    assert "0 of 3 questions are labelled" in told.output
