"""Evaluators of recorded answers: the job, the Python call, the command."""

import json

import pytest

import omlab
from omlab.cli.recorded import options
from omlab.errors import InputError, OmlabError, OutputError, SettingsError, UnknownNameError, UsageError
from omlab.jobs.running import Interrupted


@pytest.fixture
def essay(tmp_path, monkeypatch, toy):
    """Write an answer file; the working folder is a fresh one."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        path = tmp_path / f"{name}.txt"
        path.write_text(text)
        return str(path)

    return write


def run_in(folder):
    return json.loads((folder / "run.json").read_text())


def test_recorded_answers_become_a_report_in_a_run_folder(essay, tmp_path):
    files = [essay("a", "one two"), essay("b", "one two three four")]
    outcome = omlab.evaluate_recorded("essays", settings={"answers": files}, output=tmp_path / "board")
    assert outcome.exit_status == 0
    assert outcome.report.metrics[0].value == 3
    assert sorted(p.name for p in (tmp_path / "board").iterdir()) == [
        "a.txt", "b.txt", "report.html", "report.json", "run.json",
    ]  # fmt: skip
    stored = json.loads((tmp_path / "board" / "report.json").read_text())
    assert stored["words"] == {"a": 2, "b": 4}
    assert set(stored) == {"metrics", "notes", "words"}
    cases = run_in(tmp_path / "board")["cases"]
    assert [case["inputs"] for case in cases] == [[files[0]], [files[1]]]


def test_a_complete_run_is_found_again_with_its_report(essay):
    settings = {"answers": [essay("a", "one two")]}
    first = omlab.evaluate_recorded("essays", settings=settings)
    again = omlab.evaluate_recorded("essays", settings=settings)
    assert first.place == again.place.absolute()
    assert again.was_complete
    assert again.report.metrics == first.report.metrics
    assert again.report.details == first.report.details


def test_changed_answers_are_judged_again_and_the_others_are_not(essay, tmp_path):
    settings = {"answers": [essay("a", "one"), essay("b", "one")]}
    omlab.evaluate_recorded("essays", settings=settings, output=tmp_path / "board")
    before = (tmp_path / "board" / "a.txt").stat().st_mtime_ns
    essay("b", "one two three")
    outcome = omlab.evaluate_recorded("essays", settings=settings, output=tmp_path / "board")
    assert outcome.report.details["words"] == {"a": 1, "b": 3}
    assert (tmp_path / "board" / "a.txt").stat().st_mtime_ns == before


def test_a_failed_case_leaves_the_others_alone_and_keeps_what_was_paid_for(essay, tmp_path):
    settings = {"answers": [essay("a", "one two"), essay("b", "one")], "least_words": 2}
    board = tmp_path / "board"
    outcome = omlab.evaluate_recorded("essays", settings=settings, output=board)
    assert outcome.exit_status == 1
    assert outcome.report.details["words"] == {"a": 2}
    assert (board / "scratch" / "paid").read_text() == "a\nb\n"
    essay("b", "one two")
    assert omlab.evaluate_recorded("essays", settings=settings, output=board).exit_status == 0
    assert not (board / "scratch").exists()


def test_an_interrupted_run_goes_on_even_where_patience_changes(essay, tmp_path):
    settings = {"answers": [essay("a", "one two"), essay("b", "stop")], "patience": 1}
    with pytest.raises(Interrupted, match="run the same command again"):
        omlab.evaluate_recorded("essays", settings=settings, output=tmp_path / "board")
    assert (tmp_path / "board.partial" / "scratch" / "paid").read_text() == "a\nb\n"
    essay("b", "one")
    with pytest.raises(OutputError, match="another request"):
        omlab.evaluate_recorded("essays", settings=settings | {"least_words": 0}, output=tmp_path / "board")
    outcome = omlab.evaluate_recorded("essays", settings=settings | {"patience": 9, "yes": True}, output="board")
    assert outcome.exit_status == 0
    assert outcome.report.details["words"] == {"a": 2, "b": 1}


def test_nothing_is_left_where_nothing_could_be_started(essay, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        omlab.evaluate_recorded("essays", settings={"answers": ["nowhere.txt"]}, output="board")
    with pytest.raises(UsageError, match="nothing to judge"):
        omlab.evaluate_recorded("essays", output="board")
    assert not list(tmp_path.glob("board*"))


def test_a_run_without_any_judged_case_is_an_error(essay):
    files = [essay("a", ""), essay("b", "")]
    with pytest.raises(OmlabError, match=r"No case could be judged: .*a\.txt has 0 words"):
        omlab.evaluate_recorded("essays", settings={"answers": files}, output="board")
    with pytest.raises(OmlabError, match=r"^\S*a\.txt has 0 words\.$"):
        omlab.evaluate_recorded("essays", settings={"answers": files[:1]}, output="other")


def test_each_kind_of_evaluator_says_what_it_is_for(essay):
    with pytest.raises(UsageError, match="'error' judges a model's predictions on a data set"):
        omlab.evaluate_recorded("error")
    with pytest.raises(UsageError, match="'essays' judges recorded answers"):
        omlab.evaluate("adder", "ramps", evaluator="essays")
    with pytest.raises(UnknownNameError, match="did you mean 'essays'"):
        omlab.evaluate_recorded("essay")


def test_words_become_settings():
    assert options(["--least-words", "3", "--yes", "--answers=a", "--answers", "b", "--low", "-4"]) == {
        "least_words": "3", "yes": "true", "answers": ["a", "b"], "low": "-4",
    }  # fmt: skip
    with pytest.raises(SettingsError, match="'stray' belongs to no option"):
        options(["--yes=1", "stray"])


@pytest.fixture
def command(essay, monkeypatch, capsys):
    """Run `omlab evaluate ...` in this process: (status, stdout, stderr on one line)."""
    from omlab.cli import main

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["omlab", "evaluate", *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stop:
            main()
        shown = capsys.readouterr()
        return stop.value.code or 0, shown.out, " ".join(shown.err.split())

    return run


def test_the_command_takes_the_settings_as_options(command, essay, tmp_path):
    status, out, _ = command(
        "essays", "--answers", essay("a", "one two"), "--least-words=1", "--yes", "-o", "board", "-s", "patience=3"
    )
    assert status == 0
    assert "words" in out
    assert run_in(tmp_path / "board")["request"]["evaluator"] == {
        "name": "essays", "settings": {"answers": [str(tmp_path / "a.txt")], "least_words": 1},
    }  # fmt: skip
    assert run_in(tmp_path / "board")["arguments"]["settings"]["patience"] == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["essays", "--anwsers", "x"], "'essays' has no setting 'anwsers'; its settings are: answers"),
        (["essays", "--least-words", "few"], "must be a whole number"),
        (["essays", "--data", "ramps"], "--data does not apply"),
        (["essays", "stray"], "'stray' belongs to no option"),
        (["essay", "--answers", "x"], "did you mean 'essays'?"),
        (["adder"], "Missing option '--data'"),
        (["adder", "--dtaa", "ramps"], "There is no option --dtaa: did you mean --data?"),
        (["adder", "--data", "ramps", "--splitt", "test"], "There is no option --splitt: did you mean --split?"),
        (["adder", "--data", "ramps", "more"], "'more' is one argument too many"),
        (["--data", "ramps"], "either a model or a folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(command, arguments, sentence):
    status, _, err = command(*arguments)
    assert status == 2
    assert sentence in err
