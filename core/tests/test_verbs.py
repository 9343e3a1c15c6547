"""Any verb on paths: what is done, what is found again, what is refused."""

import json
import os
import sys
import threading
from pathlib import Path

import pytest

import omlab
from omlab.errors import (
    DeviceError,
    InputError,
    OmlabError,
    OmlabWarning,
    OutputError,
    PluginError,
    SettingsError,
    UnknownNameError,
    UsageError,
    WeightsError,
)
from omlab.jobs.running import Interrupted
from omlab.models import untrained_notes
from omlab.run_folder import read_log

pytestmark = pytest.mark.usefixtures("here")


def values(path):
    return omlab.read(path).values


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_file_goes_into_a_file(signal):
    path = signal("a.sig", [1, 2])
    outcome = omlab.predict("adder", path, output="out.sig", settings={"offset": 2}, options={"times": 2})
    assert (outcome.exit_status, outcome.place) == (0, Path("out.sig"))
    assert values("out.sig") == [5, 6]
    log = json.loads(Path("out.sig.run.json").read_text())
    assert log["request"]["model"]["settings"] == {"offset": 2}
    assert log["request"]["options"] == {"times": 2}
    assert [row["path"] for row in log["cases"][0]["outputs"]] == ["out.notes", "out.sig"]
    assert names(".") == ["out.notes", "out.sig", "out.sig.run.json"]


def test_a_file_made_before_is_neither_made_again_nor_overwritten(signal):
    path = signal("a.sig", [1])
    omlab.predict("adder", path, output="out.sig")
    made = Path("out.sig").stat().st_mtime_ns
    assert omlab.predict("adder", path, output="out.sig").was_complete
    for change in ({"settings": {"offset": 9}}, {"options": {"times": 2}}, {"read_settings": {"": {"skip": 0}}}):
        with pytest.raises(OutputError, match="is the result of another request; remove it"):
            omlab.predict("adder", path, output="out.sig", **change)
    with pytest.raises(OutputError, match="another request"):
        omlab.predict("adder", signal("b.sig", [7]), output="out.sig")
    assert Path("out.sig").stat().st_mtime_ns == made
    Path("mine.sig").write_text("mine")
    with pytest.raises(OutputError, match="is not a result of omlab"):
        omlab.predict("adder", path, output="mine.sig")
    assert Path("mine.sig").read_text() == "mine"


def test_a_log_that_a_later_omlab_wrote_is_read(signal):
    path = signal("a.sig", [1])
    omlab.predict("adder", path, output="out.sig")
    log = json.loads(Path("out.sig.run.json").read_text())
    log["cases"][0]["mood"] = log["colour"] = "new"
    Path("out.sig.run.json").write_text(json.dumps(log))
    assert omlab.predict("adder", path, output="out.sig").was_complete


def test_a_failed_file_leaves_nothing(signal):
    bad = signal("bad.sig", [1])
    bad.write_text("prose")
    assert omlab.predict("adder", bad, output="out.sig").exit_status == 1
    assert names(".") == []


def test_a_folder_goes_into_a_run_with_what_stands_beside(signal):
    signal("a.sig", [1])
    folder = signal("b.sig.txt", [2, 3]).parent
    outcome = omlab.predict("adder", folder, output="out")
    assert names("out") == ["a.notes", "a.sig.txt", "b.notes", "b.sig.txt", "cases.jsonl", "run.json"]
    assert values("out/b.sig.txt") == [3, 4]
    roles = {row["path"]: (row["role"], row["format"]) for row in outcome.cases["a"].outputs}
    assert roles == {"a.notes": ("beside", "signal-notes"), "a.sig.txt": ("main", "signal-text")}


def test_what_stands_beside_a_result_cannot_fail_it(signal):
    outcome = omlab.predict("adder", signal("a.sig", [12]), output="out")
    assert outcome.exit_status == 0
    assert outcome.cases["a"].warnings == ["a.notes was not written as signal-notes: ValueError: 13 cannot be noted"]
    assert values("out/a.sig.txt") == [13]
    assert "a.notes" not in names("out")


def test_a_second_start_does_only_what_is_missing(signal):
    folder = signal("a.sig", [1]).parent
    signal("b.sig", [2])
    omlab.predict("adder", folder, output="out")
    made = Path("out/a.sig.txt").stat().st_mtime_ns
    signal("c.sig", [3])
    signal("b.sig", [20])
    outcome = omlab.predict("adder", folder, output="out")
    assert not outcome.was_complete
    assert set(outcome.cases) == {"a", "b", "c"}
    assert Path("out/a.sig.txt").stat().st_mtime_ns == made
    assert values("out/b.sig.txt") == [21]
    assert omlab.predict("adder", folder, output="out").was_complete


def test_without_an_output_the_same_request_finds_its_run_again(signal):
    path = signal("a.sig", [1])
    first = omlab.predict("adder", path)
    assert first.place.parent.name == "omlab-runs"
    assert omlab.predict("adder", path).was_complete
    assert omlab.predict("adder", path, settings={"offset": 5}).place != first.place
    assert omlab.predict("adder", signal("b.sig", [1])).place != first.place


def test_batches_and_devices_alike_are_the_same_request(signal):
    folder = signal("a.sig", [1]).parent
    for number in range(5):
        signal(f"{number}.sig", [number])
    settings = {"way": "warn"}
    assert omlab.predict("breaker", folder, output="out", settings=settings, batch=5).exit_status == 0
    assert omlab.predict("breaker", folder, output="out", settings=settings, batch=1).was_complete


def test_the_batch_is_the_cards_unless_told_otherwise(signal, monkeypatch):
    for number in range(5):
        folder = signal(f"{number}.sig", [number]).parent
    omlab.predict("breaker", folder, output="out", settings={"way": "warn"})
    models = sys.modules["omlab_toy.models"]
    calls = []
    predict = models.Breaker.predict

    def counted(self, batch, /):
        calls.append(len(batch))
        return predict(self, batch)

    monkeypatch.setattr(models.Breaker, "predict", counted)
    omlab.predict("breaker", folder, output="by card", settings={"way": "warn"})
    omlab.predict("breaker", folder, output="by two", settings={"way": "warn"}, batch=2)
    assert calls == [4, 1, 2, 2, 1]


def test_a_case_that_fails_in_a_batch_fails_alone(signal):
    for number in range(7):
        folder = signal(f"{number}.sig", [number]).parent
    outcome = omlab.predict("breaker", folder, output="out", settings={"way": "third"})
    assert [(record.id, record.reason) for record in outcome.failed] == [("3", "three is refused.")]
    assert outcome.counts == (6, 1)
    assert outcome.exit_status == 1
    assert "3.sig.txt" not in names("out")


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("bug", "unexpected ZeroDivisionError in 'predict' of 'breaker.untrained': a bug (models.py, line "),
        ("grid", "does not lie on the grid of its input"),
        ("kind", "gave a note, but its card promises a signal"),
        ("nan", "NaN or infinite"),
    ],
)
def test_a_model_that_breaks_a_promise_fails_its_case(signal, way, reason):
    outcome = omlab.predict("breaker", signal("a.sig", [1]), output="out", settings={"way": way})
    assert reason in outcome.failed[0].reason
    assert ("traceback" in outcome.failed[0].values) == (way == "bug")
    assert names("out") == ["cases.jsonl", "run.json"]


@pytest.mark.parametrize(("way", "error"), [("few", PluginError), ("many", PluginError), ("lost", DeviceError)])
def test_what_no_case_can_survive_ends_the_run(signal, way, error):
    signal("b.sig", [2])
    with pytest.raises(error) as stop:
        omlab.predict("breaker", signal("a.sig", [1]).parent, output="out", settings={"way": way})
    assert stop.value.exit_status == 1
    assert names(".") == []


def test_a_broken_file_fails_alone_and_is_tried_again(signal):
    good, bad = signal("good.sig", [1]), signal("bad.sig", [1])
    bad.write_text("prose")
    outcome = omlab.predict("adder", [good, bad], output="out")
    assert outcome.exit_status == 1
    assert "bad.sig is not a signal" in outcome.failed[0].reason
    signal("bad.sig", [4])
    again = omlab.predict("adder", [good, bad], output="out")
    assert again.exit_status == 0
    assert values("out/bad.sig.txt") == [5]


def test_a_result_of_before_goes_when_its_case_fails_now(signal):
    path = signal("a.sig", [1])
    omlab.predict("adder", [path, signal("b.sig", [1])], output="out")
    path.write_text("prose")
    assert omlab.predict("adder", [path, signal("b.sig", [1])], output="out").exit_status == 1
    assert names("out") == ["b.notes", "b.sig.txt", "cases.jsonl", "run.json"]


def test_inputs_are_read_with_settings_of_their_format(signal):
    path = signal("a.sig", [1, 2, 3])
    how = {"output": "out.sig", "read_settings": {"": {"skip": "2"}}, "overlay": "out.png"}
    outcome = omlab.predict("adder", path, **how)
    assert outcome.cases["a"].warnings == ["2 lines were left out."]  # once, not of the picture too
    assert values("out.sig") == [4]
    assert b"[3.0]" in Path("out.png").read_bytes()
    assert omlab.predict("adder", path, **how).was_complete
    by_input = omlab.predict("adder", path, output="two.sig", read_settings={"signal": {"skip": 1}})
    assert values(by_input.place) == [3, 4]
    with pytest.raises(SettingsError, match="'signal-text' has no setting 'series': there are skip"):
        omlab.predict("adder", path, output="three.sig", read_settings={"": {"series": "3"}})
    assert "three.sig" not in names(".")


def test_warnings_are_in_the_log_with_their_case(signal):
    for number in range(12):
        path = signal(f"{number}.sig", [number, number])
    outcome = omlab.predict("adder", path.parent, output="out", read_settings={"": {"skip": 1}})
    assert all(record.warnings == ["1 lines were left out."] for record in outcome)
    warned = omlab.predict("breaker", path, output="warned", settings={"way": "warn"})
    assert warned.cases["11"].warnings == ["look out"]


def test_inputs_by_name_and_values(signal):
    path = signal("a.sig", [1])
    Path("note.tsv").write_text("n\thello\n")
    outcome = omlab.predict("adder", path, named={"note": "note.tsv"}, output="out")
    assert set(outcome.cases["a"].inputs) == {"signal", "note"}
    omlab.predict("adder", path, values={"note": "hello"}, output="by value")
    assert read_log(Path("by value"))["request"]["values"] == {"note": "hello"}
    refused = omlab.predict("adder", path, values={"note": "HELLO"}, output="refused")
    assert "takes no shouted in 'note'; it takes plain" in refused.failed[0].reason
    by_name_alone = omlab.predict("adder", named={"signal": path}, output="named")
    assert set(by_name_alone.cases) == {"a"}
    value_alone = omlab.apply_verb("generate", "teller", values={"note": "a cat"}, output="told")
    assert set(value_alone.cases) == {"note"}
    with pytest.raises(UsageError, match="A signal cannot be given as a value: name a file"):
        omlab.predict("adder", values={"signal": [1]}, output="x")


def test_a_changed_further_input_is_done_again(signal):
    path, note = signal("a.sig", [1]), Path("note.tsv")
    note.write_text("n\thello\n")
    omlab.predict("adder", path, named={"note": note}, output="out")
    assert omlab.predict("adder", path, named={"note": note}, output="out").was_complete
    note.write_text("n\tHELLO\n")
    assert omlab.predict("adder", path, named={"note": note}, output="out").exit_status == 1


def test_a_result_of_two_parts_is_written_in_parts(signal):
    fixed, moving = signal("fixed.sig", [5, 6]), signal("moving.sig", [1, 2])
    inputs = {"fixed": fixed, "moving": moving}
    outcome = omlab.apply_verb("register", "mover.untrained", named=inputs, output="out")
    assert names("out") == ["cases.jsonl", "fixed.by.tsv", "fixed.moved.notes", "fixed.moved.sig.txt", "run.json"]
    assert values("out/fixed.moved.sig.txt") == [2, 3]
    assert [row["role"] for row in outcome.cases["fixed"].outputs] == ["main", "beside", "main"]
    also = omlab.apply_verb("register", "mover.untrained", fixed, named={"moving": moving}, output="also")
    assert set(also.cases) == {"fixed"}
    with pytest.raises(UsageError, match=r"A move cannot be written to out\.sig"):
        omlab.apply_verb("register", "mover.untrained", named=inputs, output="out.sig")


def test_a_file_of_many_entries_is_many_cases(signal):
    Path("notes.tsv").write_text("one\ta cat\ntwo\ta dog\n")
    outcome = omlab.apply_verb("generate", "teller", "notes.tsv", output="out")
    assert set(outcome.cases) == {"one", "two"}
    assert Path("out/generate.tsv").read_text() == "one\tonce there was a cat\ntwo\tonce there was a dog\n"


@pytest.mark.parametrize(
    ("place", "file"), [("pictures", "pictures/a.png"), ("pictures/", "pictures/a.png"), ("p.png", "p.png")]
)
def test_pictures_go_where_they_are_asked_for(signal, place, file):
    outcome = omlab.predict("adder", signal("a.sig", [1]), output="out", overlay=place)
    assert outcome.pictures == [Path(file)]
    assert Path(file).read_bytes().startswith(b"\x89PNG")


def test_pictures_can_be_asked_for_later_and_have_the_ids_of_their_cases(signal, tmp_path):
    path = signal("a.sig", [1])
    omlab.predict("adder", path, output="out")
    Path("other").mkdir()
    Path("other/a.sig").write_text("signal\n7")
    outcome = omlab.predict("adder", "other/a.sig", output="out", overlay="pictures/")
    assert set(outcome.cases) == {"a", "other-a"}
    assert names("pictures") == ["other-a.png"]
    later = omlab.predict("adder", path, output="out", overlay="later.png")
    assert later.was_complete
    assert b"[1.0] [2.0]" in Path("later.png").read_bytes()


def test_of_a_result_of_parts_the_one_with_a_picture_is_drawn_with_the_others(signal, monkeypatch):
    inputs = {"fixed": signal("fixed.sig", [5, 6]), "moving": signal("moving.sig", [1, 2])}
    omlab.read(inputs["fixed"])
    seen = []

    def overlay(self, given, *, target=None):
        seen.append((self.values, {name: part.kind for name, part in given.items()}))
        return b"\x89PNG"

    monkeypatch.setattr(sys.modules["omlab_toy.payloads"].Signal, "overlay", overlay)
    outcome = omlab.apply_verb("register", "mover.untrained", named=inputs, output="out", overlay="p.png")
    assert outcome.pictures == [Path("p.png")]
    assert [row["kind"] for row in outcome.cases["fixed"].outputs] == ["note", "signal", "signal"]
    later = omlab.apply_verb("register", "mover.untrained", named=inputs, output="out", overlay="later.png")
    assert later.was_complete
    assert later.pictures == [Path("later.png")]
    assert seen[0] == ([2, 3], {"fixed": "signal", "moving": "signal", "part 1": "note"})
    assert seen[1][0] == [2, 3]


def test_a_result_of_parts_without_a_picture_is_told_so(signal, monkeypatch):
    inputs = {"fixed": signal("fixed.sig", [5, 6]), "moving": signal("moving.sig", [1, 2])}
    omlab.read(inputs["fixed"])
    monkeypatch.delattr(sys.modules["omlab_toy.payloads"].Signal, "overlay")
    outcome = omlab.apply_verb("register", "mover.untrained", named=inputs, output="out", overlay="p.png")
    assert outcome.exit_status == 0
    assert outcome.cases["fixed"].warnings == ["The picture p.png was not drawn: a move has no picture."]


def test_a_picture_that_cannot_be_drawn_fails_nothing(signal, monkeypatch):
    path = signal("a.sig", [1])
    omlab.read(path)

    def broken(self, inputs, *, target=None):
        raise ValueError("no ink")

    monkeypatch.setattr(sys.modules["omlab_toy.payloads"].Signal, "overlay", broken)
    outcome = omlab.predict("adder", path, output="out", overlay="p.png")
    assert outcome.exit_status == 0
    assert outcome.cases["a"].warnings == ["The picture p.png was not drawn: ValueError: no ink"]
    assert not Path("p.png").exists()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"model": "addr"}, UnknownNameError, "did you mean 'adder'"),
        ({"model": "mine/"}, UsageError, "mine/ does not exist; a model is a name or the folder of an adapted model"),
        ({"model": "adder.best"}, UnknownNameError, "'adder' has no weights 'best': there are untrained"),
        ({"inputs": []}, UsageError, "Nothing to do: name at least one file or folder for 'signal' of 'adder'"),
        ({"inputs": ["nowhere.sig"]}, InputError, "nowhere.sig does not exist"),
        ({"inputs": ["picture.png"]}, InputError, "No installed format reads picture.png as a signal"),
        ({"inputs": ["note.tsv"]}, InputError, "note.tsv is read as note, but a signal is needed"),
        ({"named": {"nte": "note.tsv"}}, UsageError, "'adder' has no input 'nte': did you mean 'note'"),
        ({"named": {"note": "nowhere.tsv"}}, InputError, "nowhere.tsv does not exist"),
        ({"named": {"signal": "b.sig"}}, UsageError, "All inputs of 'adder' are named already: a.sig is one too many"),
        ({"weights": "nowhere.pth"}, WeightsError, "nowhere.pth"),
        ({"settings": {"ofset": 1}}, SettingsError, "'adder' has no setting 'ofset': did you mean 'offset'"),
        ({"options": {"tims": 1}}, SettingsError, "no setting 'tims': did you mean 'times'"),
        ({"device": "cuda:99"}, UsageError, "cuda:99"),
        ({"device": "tpu"}, UsageError, "no device 'tpu'"),
        ({"output": "out.sig", "inputs": ["a.sig", "b.sig"]}, UsageError, "2 inputs cannot go into one file out.sig"),
        ({"output": "seg.png"}, UsageError, "cannot be written to seg.png; .* A picture is asked for with --overlay"),
        (
            {"output": "seg.tsv"},
            UsageError,
            "A signal cannot be written to seg.tsv; suffixes that would do: .notes, .sig",
        ),
        ({"output": "report.xlsx"}, UsageError, "to report.xlsx; suffixes that would do: .*; a slash at its end"),
        ({"output": "/"}, OutputError, "/ exists already|cannot be the folder of a run"),
        ({"output": "a.sig/out"}, OutputError, "a file stands where a folder is needed"),
        ({"overlay": "p.jpg"}, UsageError, "name a file that ends in .png, or a folder"),
        ({"overlay": "p.png", "inputs": ["a.sig", "b.sig"]}, UsageError, "2 pictures cannot go into one file"),
        ({"as_format": "vectors"}, UsageError, "The format 'vectors' does not write a signal; it writes vector"),
        ({"as_format": "vectrs"}, UnknownNameError, "did you mean 'vectors'"),
        ({"verb": "predikt"}, UsageError, "'adder' has no verb 'predikt': did you mean 'predict'"),
        ({"verb": "embed", "model": "embedder", "overlay": "x/"}, UsageError, "A vector has no picture"),
        ({"data": "ramps"}, UsageError, r"Name either files or a data set \(--data\), not both"),
        ({"data": "rams", "inputs": []}, UnknownNameError, "did you mean 'ramps'"),
        ({"data": "ramps", "inputs": [], "split": "tst"}, UsageError, "no split 'tst': did you mean 'test'"),
        (
            {"data": "a.sig", "inputs": []},
            UsageError,
            r"is a path: say how it is laid out, such as --data cases:a.sig \(there are ",
        ),
        ({"data": "ramps", "inputs": [], "mapped": {"sgnal": "ramp"}}, UsageError, "no input 'sgnal': did you mean"),
        ({"data": "ramps", "inputs": [], "mapped": {"signal": "rmp"}}, UsageError, "has no 'rmp': did you mean 'ramp'"),
        ({"needs": {"helper": "adder"}}, UsageError, "'adder' has no need 'helper': it needs no other model"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_sentence_and_leaves_nothing(call, error, message):
    for name in ("a.sig", "b.sig"):
        Path(name).write_text("signal\n1")
    Path("picture.png").write_bytes(b"\x89PNG")
    Path("note.tsv").write_text("n\thello\n")
    arguments = {"verb": "predict", "model": "adder", "inputs": ["a.sig"]} | call
    with pytest.raises(error, match=message) as refusal:
        omlab.apply_verb(**arguments)
    assert refusal.value.exit_status == 2
    assert str(refusal.value).endswith((".", "?", "supported"))
    assert [name for name in names(".") if name != "omlab-data"] == ["a.sig", "b.sig", "note.tsv", "picture.png"]


class Thing:
    def __repr__(self):
        return "<thing>"


@pytest.mark.parametrize(
    "call",
    [
        {"verb": None},
        {"model": None},
        {"model": ""},
        {"model": 5},
        {"model": Thing()},
        {"inputs": None},
        {"inputs": 5},
        {"inputs": [None]},
        {"inputs": {"signal": "a.sig"}},
        {"inputs": [Thing()]},
        {"named": "note.tsv"},
        {"named": {"note": None}},
        {"values": 5},
        {"data": 5, "inputs": []},
        {"data": "ramps", "inputs": [], "split": 5},
        {"data": "ramps", "inputs": [], "root": 5},
        {"data": "ramps", "inputs": [], "mapped": 5},
        {"data": "ramps", "inputs": [], "data_settings": "x"},
        {"output": 5},
        {"output": Thing()},
        {"as_format": 5},
        {"overlay": 5},
        {"weights": 5},
        {"device": None},
        {"device": 5},
        {"settings": "offset=1"},
        {"settings": {"offset": None}},
        {"settings": {"offset": "nan"}},
        {"settings": {5: 1}},
        {"options": 5},
        {"options": {"times": [1]}},
        {"needs": "adder"},
        {"batch": 0},
        {"batch": "two"},
        {"read_settings": 5},
        {"read_settings": {"": 5}},
    ],
    ids=str,
)
def test_none_and_wrong_types_are_one_sentence(call):
    Path("a.sig").write_text("signal\n1")
    arguments = {"verb": "predict", "model": "adder", "inputs": ["a.sig"]} | call
    with pytest.raises(OmlabError) as refusal:
        omlab.apply_verb(**arguments)
    assert refusal.value.exit_status == 2
    assert "\n" not in str(refusal.value)
    assert not Path("omlab-runs").exists()


def test_a_payload_in_place_of_a_path_says_what_takes_it(signal):
    payload = omlab.read(signal("a.sig", [1]))
    with pytest.raises(UsageError, match=r"not a signal \(a payload is given to a loaded model"):
        omlab.predict("adder", payload)
    with pytest.raises(UsageError, match="not a signal"):
        omlab.predict("adder", [payload])


def test_reading_and_writing_say_what_they_cannot_do(signal):
    payload = omlab.read(signal("a.sig", [1]))
    omlab.write(payload, "b.sig")
    assert values("b.sig") == [1]
    with pytest.raises(OutputError, match=r"suffixes that would do: \.notes, \.sig, \.sig\.txt"):
        omlab.write(payload, "b.png")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        omlab.write(payload, "b.sig/c.sig")
    for wrong in (
        lambda: omlab.write(None, "c.sig"),
        lambda: omlab.write("text", "c.sig"),
        lambda: omlab.write(payload, None),
        lambda: omlab.read(None),
        lambda: omlab.read(5),
        lambda: omlab.load_model(None),
        lambda: omlab.load_model(5),
        lambda: omlab.load_dataset(None),
    ):
        with pytest.raises(UsageError):
            wrong()
    assert names(".") == ["b.sig"]


def test_a_file_without_suffix_is_known_by_its_magic(signal, tmp_path):
    signal("a.sig", [1]).rename("scan")
    assert values("scan") == [1]
    outcome = omlab.predict("adder", "scan", output="out")
    assert values(outcome.place / "scan.sig.txt") == [2]


def test_a_pipe_is_refused_at_once(signal):
    os.mkfifo("pipe.sig")
    Path("folder").mkdir()
    os.mkfifo("folder/pipe.sig")
    done = []

    def ask():
        for path in ("pipe.sig",):
            for call in (lambda p=path: omlab.predict("adder", p), lambda p=path: omlab.read(p)):
                with pytest.raises(InputError, match=r"pipe\.sig is neither a file nor a folder"):
                    call()
        with pytest.raises(InputError, match="neither a file nor a folder"):
            omlab.predict("adder", signal("a.sig", [1]), named={"note": "pipe.sig"})
        with pytest.raises(InputError, match="holds nothing to read"):
            omlab.predict("adder", "folder")
        done.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(30)
    assert done


def test_an_interrupted_run_that_did_nothing_leaves_nothing(signal):
    with pytest.raises(Interrupted, match="run the same command again to go on"):
        omlab.predict("breaker", signal("a.sig", [1]), output="out", settings={"way": "stop"})
    assert names(".") == []


def test_untrained_weights_are_said_to_mean_nothing(signal):
    outcome = omlab.predict("adder", signal("a.sig", [1]), output="out")
    [note] = outcome.notes
    assert "untrained: drawn at random, so that what it gives means nothing" in note
    assert note in read_log(Path("out"))["notes"]
    assert omlab.predict("adder", signal("a.sig", [1]), output="out").notes == [note]


def test_where_no_weights_can_be_fetched_it_is_said(signal):
    [note] = omlab.predict("careful", signal("a.sig", [1]), output="out").notes
    assert note.endswith("None can be fetched for it: bring some with --weights (see: omlab info careful).")
    assert "--weights, or adapt it (" in untrained_notes(omlab.load_model("adder"))[0]
    for name in ("mover.untrained", "breaker"):  # weights are published; it is there for tests
        assert "fetched" not in untrained_notes(omlab.load_model(name))[0]


def test_observers_are_told(signal):
    omlab.predict("adder", signal("a.sig", [1]), output="out")
    assert sys.modules["omlab_toy.plugin"].EVENTS == [
        ("started", "predict", "out.partial"),
        ("finished", "predict", "out"),
    ]


def test_an_observer_that_fails_is_noted_and_stops_nothing(signal, monkeypatch):
    omlab.read(signal("a.sig", [1]))

    def broken(events, event):
        raise ValueError("no connection")

    plugin = sys.modules["omlab_toy.plugin"]
    monkeypatch.setattr(plugin, "EVENTS", type("Closed", (), {"append": broken})())
    with pytest.warns(OmlabWarning, match="observer toy failed after the run: ValueError: no connection"):
        outcome = omlab.predict("adder", signal("a.sig", [1]), output="out")
    assert outcome.exit_status == 0
    said = "observer toy failed: ValueError: no connection (test_verbs.py, line "
    assert any(note.startswith(said) for note in read_log(Path("out"))["notes"])


def test_a_wrong_card_of_a_format_harms_no_other(install, signal):
    text = (
        "from omlab import Card, hookimpl\nOMLAB_HOOK_API = 2\n@hookimpl\ndef omlab_formats():\n"
        "    return [Card(kind='format', name='odd', summary='Odd.', data={'name': 'odd', 'summary': 'Odd.'})]\n"
    )
    install("odd", entry_points={"odd": "odd_plugin"}, files={"odd_plugin.py": text})
    with pytest.warns(OmlabWarning, match=r"format card 'odd' in odd, .* The format is left out"):
        assert values(signal("a.sig", [1])) == [1]


def test_cases_of_a_data_set_are_matched_by_name_and_kind():
    outcome = omlab.predict("adder", data="ramps", output="out")
    assert set(outcome.cases) == {"c", "d"}
    assert omlab.predict("adder", data="ramps", split="train", output="out").counts == (4, 0)  # extended
    mapped = omlab.predict("adder", data="ramps", mapped={"signal": "ramp"}, output="mapped")
    assert set(mapped.cases) == {"c", "d"}
    with pytest.raises(UsageError, match=r"needs the input 'note' \(note\), but 'ramps' has ramp \(signal\)"):
        omlab.apply_verb("generate", "teller", data="ramps")


def test_what_a_result_tells_and_what_was_doubtful_stands_in_the_log_and_beside(signal):
    outcome = omlab.predict("careful", [signal("a.sig", [1]), signal("b.sig", [4, 9])], output="out")
    good, odd = outcome.cases["a"], outcome.cases["b"]
    assert good.warnings == []
    assert good.values == {
        "length": 1,
        "gate": {"signal": {"doubts": [], "highest": 1.0}, "result": {"doubts": [], "highest": 1.0}},
    }
    assert odd.warnings == ["4 is above 3.", "9 is above 3.", "9 is above 5."]
    assert odd.values["gate"]["signal"]["highest"] == 9
    assert json.loads(Path("out/b.json").read_text()) == odd.values
    assert {row["path"]: row["role"] for row in odd.outputs}["b.json"] == "beside"
    assert omlab.predict("careful", signal("a.sig", [1]), output="one.sig").exit_status == 0
    assert json.loads(Path("one.json").read_text())["length"] == 1


def test_doubtful_inputs_are_refused_where_the_setting_says_so(signal):
    inputs = [signal("a.sig", [1]), signal("b.sig", [4])]
    outcome = omlab.predict("careful", inputs, output="out", settings={"gate": "refuse"})
    assert (outcome.exit_status, outcome.cases["a"].status) == (1, "done")
    assert outcome.cases["b"].reason == "4 is above 3. It was refused, as the setting 'gate' asks."


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_ends_a_run_whose_results_are_collected(here, monkeypatch):
    """It is no fault of a case: the others would fail too."""
    Path("notes.tsv").write_text("one\ta cat\ntwo\ta dog\n")
    opened = Path.open
    full = Path("/dev/full")
    monkeypatch.setattr(
        Path, "open", lambda path, *how, **more: opened(full if path.name == "records.bin" else path, *how, **more)
    )
    with pytest.raises(OutputError, match="the disk is full"):
        omlab.apply_verb("generate", "teller", "notes.tsv", output="out")
    assert names(".") == ["notes.tsv"]
