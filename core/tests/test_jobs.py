"""Predict, adapt and evaluate, end to end on the toy plugin."""

import json
import sys

import pytest

import omlab
from omlab.errors import InputError, OutputError, SettingsError, UnknownNameError, UsageError, WeightsError
from omlab.jobs.running import Interrupted
from omlab.runs import read_log


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch, toy):
    monkeypatch.chdir(tmp_path)


def values(path):
    return omlab.read(path).values


def test_a_file_is_predicted_into_a_file(signal, tmp_path):
    outcome = omlab.predict("adder", [signal("a.sig", [1, 2])], output=tmp_path / "out.sig", settings={"offset": 2})
    assert outcome.exit_status == 0
    assert values(tmp_path / "out.sig") == [3, 4]
    log = json.loads((tmp_path / "out.sig.run.json").read_text())
    assert log["request"]["model"]["settings"] == {"offset": 2}
    assert log["cases"][0]["results"].keys() == {"out.sig"}
    assert sorted(p.name for p in tmp_path.glob("out*")) == ["out.sig", "out.sig.run.json"]
    assert not list(tmp_path.glob(".out*"))


def test_a_file_predicted_before_is_not_predicted_again_nor_overwritten(signal, tmp_path):
    out = tmp_path / "out.sig"
    omlab.predict("adder", [signal("a.sig", [1])], output=out)
    assert omlab.predict("adder", [signal("a.sig", [1])], output=out).was_complete
    with pytest.raises(OutputError, match="not the result of this request"):
        omlab.predict("adder", [signal("a.sig", [1])], output=out, settings={"offset": 9})
    assert values(out) == [2]


def test_inputs_are_read_with_settings_of_their_format(signal, tmp_path):
    file = signal("a.sig", [1, 2, 3])
    how = {"output": tmp_path / "out.sig", "read_settings": {"skip": "2"}, "overlay": tmp_path / "out.png"}
    outcome = omlab.predict("adder", [file], **how)
    assert outcome.cases["a"].warnings == ["2 lines were left out."]  # once, not of the picture too
    assert values(tmp_path / "out.sig") == [4]
    assert b"[3.0]" in (tmp_path / "out.png").read_bytes()
    assert omlab.predict("adder", [file], **how).was_complete
    with pytest.raises(OutputError, match="not the result of this request"):
        omlab.predict("adder", [file], output=tmp_path / "out.sig")
    with pytest.raises(SettingsError, match="'signal-text' has no setting 'series'; its settings are: skip"):
        omlab.predict("adder", [file], output=tmp_path / "two.sig", read_settings={"series": "3"})
    assert not list(tmp_path.glob("*two*"))


def test_several_files_go_into_a_run_folder_with_companions(signal, tmp_path):
    signal("a.sig", [1])
    inputs = signal("b.sig.txt", [2, 3]).parent
    outcome = omlab.predict("adder", [inputs], output=tmp_path / "out")
    names = sorted(p.name for p in outcome.place.iterdir())
    assert names == ["a.notes", "a.sig.txt", "b.notes", "b.sig.txt", "run.json"]
    assert values(tmp_path / "out" / "b.sig.txt") == [3, 4]


def test_a_second_start_does_only_what_is_missing(signal, tmp_path):
    inputs = signal("a.sig", [1]).parent
    signal("b.sig", [2])
    omlab.predict("adder", [inputs], output=tmp_path / "out")
    before = (tmp_path / "out" / "a.sig.txt").stat().st_mtime_ns
    signal("c.sig", [3])
    (tmp_path / "out" / "b.sig.txt").unlink()
    outcome = omlab.predict("adder", [inputs], output=tmp_path / "out")
    assert not outcome.was_complete
    assert set(outcome.cases) == {"a", "b", "c"}
    assert (tmp_path / "out" / "a.sig.txt").stat().st_mtime_ns == before
    assert values(tmp_path / "out" / "b.sig.txt") == [3]
    assert omlab.predict("adder", [inputs], output=tmp_path / "out").was_complete


def test_without_an_output_the_same_request_finds_its_run_again(signal):
    path = signal("a.sig", [1])
    first = omlab.predict("adder", [path])
    assert first.place.parent.name == "omlab-runs"
    assert omlab.predict("adder", [path]).was_complete
    assert omlab.predict("adder", [path], settings={"offset": 5}).place.name != first.place.name


def test_a_broken_case_fails_alone(signal, tmp_path):
    good, bad = signal("good.sig", [1]), signal("bad.sig", [1])
    bad.write_text("prose")
    outcome = omlab.predict("adder", [good, bad], output=tmp_path / "out")
    assert outcome.exit_status == 1
    assert [case.id for case in outcome.failed] == ["bad"]
    assert "bad.sig is not a signal" in outcome.failed[0].reason
    assert (tmp_path / "out" / "good.sig.txt").is_file()
    assert not list((tmp_path / "out").glob("bad*"))


def test_a_failed_single_file_leaves_nothing(signal, tmp_path):
    bad = signal("bad.sig", [1])
    bad.write_text("prose")
    assert omlab.predict("adder", [bad], output=tmp_path / "out.sig").exit_status == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["signals", "site"]


@pytest.mark.parametrize(
    ("way", "reason"),
    [("bug", "unexpected ZeroDivisionError"), ("grid", "not on the grid"), ("kind", "its card says signal")],
)
def test_a_model_that_breaks_a_promise_fails_its_case(signal, tmp_path, way, reason):
    outcome = omlab.predict("breaker", [signal("a.sig", [1])], output=tmp_path / "out", settings={"way": way})
    assert reason in outcome.failed[0].reason


def test_warnings_are_in_the_log(signal, tmp_path):
    omlab.predict("breaker", [signal("a.sig", [1])], output=tmp_path / "out", settings={"way": "warn"})
    assert read_log(tmp_path / "out")["cases"][0]["warnings"] == ["look out"]


def test_an_interrupted_run_that_did_nothing_leaves_nothing(signal, tmp_path):
    with pytest.raises(Interrupted, match="run the same command again"):
        omlab.predict("breaker", [signal("a.sig", [1])], output=tmp_path / "out", settings={"way": "stop"})
    assert not list(tmp_path.glob("out*"))


def test_observers_are_told(signal, tmp_path):
    omlab.predict("adder", [signal("a.sig", [1])], output=tmp_path / "out")
    events = sys.modules["omlab_toy.plugin"].EVENTS
    assert events == [("started", "predict", "out.partial"), ("finished", "predict", "out")]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"model": "addr"}, UnknownNameError, "did you mean 'adder'"),
        ({"model": "adder.best"}, UnknownNameError, "no weights 'best'"),
        ({"inputs": []}, UsageError, "at least one"),
        ({"inputs": ["nowhere.sig"]}, InputError, "nowhere.sig does not exist"),
        ({"inputs": ["picture.png"]}, InputError, "No installed format reads picture.png as a signal"),
        ({"weights": "nowhere.pth"}, WeightsError, "no weights file nowhere.pth"),
        ({"settings": {"ofset": 1}}, SettingsError, "no setting 'ofset'"),
        ({"device": "cuda:99"}, UsageError, "cuda:99"),
        ({"device": "tpu"}, UsageError, "no device 'tpu'"),
        ({"output": "out.notes2/../out.sig", "inputs": ["a.sig", "b.sig"]}, UsageError, "cannot go into one file"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_sentence(signal, tmp_path, call, error, message):
    for name in ("a.sig", "b.sig"):
        (tmp_path / name).write_text("signal\n1")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    arguments = {"model": "adder", "inputs": ["a.sig"]} | call
    with pytest.raises(error, match=message):
        omlab.predict(arguments.pop("model"), arguments.pop("inputs"), **arguments)


def test_an_empty_folder_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty is empty|The folder .* is empty"):
        omlab.predict("adder", [tmp_path / "empty"])


def test_a_file_without_suffix_is_known_by_its_magic(signal, tmp_path):
    path = signal("a.sig", [1]).rename(tmp_path / "scan")
    assert values(path) == [1]


def test_same_names_in_two_folders_are_two_cases(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.sig").write_text("signal\n1")
    outcome = omlab.predict("adder", [tmp_path / "x" / "a.sig", tmp_path / "y" / "a.sig"], output=tmp_path / "out")
    assert set(outcome.cases) == {"a", "y-a"}


def test_an_adapted_model_stands_where_a_name_does(signal, tmp_path):
    outcome = omlab.adapt("adder.untrained", "ramps", adapter="offset", output=tmp_path / "adapted")
    assert outcome.exit_status == 0
    names = sorted(p.name for p in (tmp_path / "adapted").iterdir())
    assert names == ["adapted.json", "history.json", "run.json", "weights.safetensors"]
    assert omlab.load_model(tmp_path / "adapted").predict(omlab.read(signal("a.sig", [1]))).values == [6]
    assert omlab.adapt("adder.untrained", "ramps", adapter="offset", output=tmp_path / "adapted").was_complete
    with pytest.raises(OutputError, match="another request"):
        omlab.adapt("adder.untrained", "ramps", adapter="offset", output=tmp_path / "adapted", seed=1)


def test_an_adapted_model_can_be_adapted_again(tmp_path):
    omlab.adapt("adder.untrained", "ramps", adapter="offset", output=tmp_path / "one")
    omlab.adapt(tmp_path / "one", "ramps", adapter="offset", output=tmp_path / "two")
    assert json.loads((tmp_path / "two" / "adapted.json").read_text())["base"]["name"] == "adder.untrained"


def test_a_model_without_the_capability_is_refused(tmp_path):
    with pytest.raises(UsageError, match="needs the capability 'finetune'"):
        omlab.adapt("breaker", "ramps", adapter="offset", output=tmp_path / "adapted")


def test_a_damaged_adapted_folder_says_so(tmp_path):
    omlab.adapt("adder.untrained", "ramps", adapter="offset", output=tmp_path / "adapted")
    (tmp_path / "adapted" / "weights.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has no weights\.safetensors"):
        omlab.load_model(tmp_path / "adapted")
    (tmp_path / "adapted" / "adapted.json").write_text("{")
    with pytest.raises(UsageError, match="not the description of an adapted model"):
        omlab.load_model(tmp_path / "adapted")


def test_a_model_is_evaluated(tmp_path):
    outcome = omlab.evaluate("adder", "ramps", evaluator="error", output=tmp_path / "board")
    assert outcome.report.metrics[0].value == 4
    stored = json.loads((tmp_path / "board" / "report.json").read_text())
    assert stored["metrics"][0]["value"] == 4
    assert {"c.txt", "d.txt", "report.html", "run.json"} <= {p.name for p in (tmp_path / "board").iterdir()}
    again = omlab.evaluate("adder", "ramps", evaluator="error", output=tmp_path / "board")
    assert again.was_complete
    assert again.report.metrics[0].value == 4


def test_the_predictions_of_a_run_are_evaluated(tmp_path):
    omlab.adapt("adder.untrained", "ramps", adapter="offset", output=tmp_path / "adapted")
    files = [tmp_path / "omlab-data" / "ramps" / f"{id}.sig" for id in "cd"]
    omlab.predict(tmp_path / "adapted", files, output=tmp_path / "out")
    outcome = omlab.evaluate(None, "ramps", predictions=tmp_path / "out", evaluator="error", output=tmp_path / "board")
    assert outcome.report.metrics[0].value == 0
    assert json.loads((tmp_path / "board" / "history.json").read_text()) == [{"epoch": 0, "loss": 0.5}]


def test_a_case_without_a_prediction_fails_alone(tmp_path):
    omlab.load_dataset("ramps").prepare()
    omlab.predict("adder", [tmp_path / "omlab-data" / "ramps" / "c.sig"], output=tmp_path / "out")
    outcome = omlab.evaluate(None, "ramps", predictions=tmp_path / "out", evaluator="error", output=tmp_path / "board")
    assert outcome.exit_status == 1
    assert "no prediction for the case 'd'" in outcome.failed[0].reason


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"model": None}, UsageError, "either a model or a folder"),
        ({"split": "val"}, UsageError, "no split 'val'; it has train, test"),
        ({"data": "rams"}, UnknownNameError, "did you mean 'ramps'"),
        ({"evaluator": "eror"}, UnknownNameError, "did you mean 'error'"),
        ({"model": None, "predictions": "."}, InputError, "not the folder of a finished"),
    ],
)
def test_an_evaluation_that_makes_no_sense_is_one_sentence(call, error, message):
    arguments = {"model": "adder", "data": "ramps", "evaluator": "error"} | call
    with pytest.raises(error, match=message):
        omlab.evaluate(arguments.pop("model"), arguments.pop("data"), **arguments)


def test_writing_needs_a_known_suffix(signal, tmp_path):
    payload = omlab.read(signal("a.sig", [1]))
    omlab.write(payload, tmp_path / "b.sig")
    assert values(tmp_path / "b.sig") == [1]
    with pytest.raises(OutputError, match=r"suffixes that would do: \.notes, \.sig, \.sig\.txt"):
        omlab.write(payload, tmp_path / "b.png")
