"""Predicting what a user points at, simulated clicks, and pictures, end to end on the toy plugin."""

import csv
import json
from pathlib import Path

import pytest

import omlab
from omlab import prompts
from omlab.errors import GeometryError, InputError, OutputError, UsageError
from omlab.prompts import Object, Point, Prompts
from omlab.runs import read_log

MODEL = "pointer.untrained"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch, toy):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ct(signal):
    return signal("ct.sig", [5, 6, 7, 8])


def points(*objects, name="prompts.json", **fields):
    """Write a prompts file with points (position along the signal, label)."""
    rows = [
        {"name": f"part {n}", "points": [{"at": [x, 0, 0], "label": label} for x, label in entry]}
        for n, entry in enumerate(objects, start=1)
    ]
    Path(name).write_text(json.dumps({"space": "voxel", "image": "ct.sig", "objects": rows} | fields))
    return Path(name)


def values(path):
    return omlab.read(path).values


def test_several_objects_are_predicted_from_a_file(ct, tmp_path):
    file = points([(1, 1)], [(2, 1), (3, 1), (3, 0)])
    outcome = omlab.predict(MODEL, [ct], prompts=file, output="mask.sig")
    assert values(outcome.place) == [0, 1, 2, 0]
    log = json.loads(Path("mask.sig.run.json").read_text())
    assert log["request"]["prompts"]["content"]["objects"][1]["points"][2] == {"at": [3, 0, 0], "label": 0}
    assert log["arguments"]["prompts"] == "prompts.json"


def test_prompts_in_memory_and_from_3d_slicer_say_the_same(ct):
    given = Prompts(space="ras", objects=(Object(name="part", points=(Point(at=(14, 0, 0)),)),))
    assert values(omlab.predict(MODEL, [ct], prompts=given, output="one.sig").place) == [0, 0, 1, 0]
    point = {"position": [-14, 0, 0], "label": "F-1"}
    Path("F.mrk.json").write_text(json.dumps({"markups": [{"type": "Fiducial", "controlPoints": [point]}]}))
    assert values(omlab.predict(MODEL, [ct], prompts="F.mrk.json", output="two.sig").place) == [0, 0, 1, 0]


def test_the_same_prompts_are_the_same_request_and_others_another(ct):
    omlab.predict(MODEL, [ct], prompts=points([(1, 1)]), output="out")
    assert omlab.predict(MODEL, [ct], prompts=points([(1, 1)]), output="out").was_complete
    with pytest.raises(OutputError, match="another request"):
        omlab.predict(MODEL, [ct], prompts=points([(2, 1)]), output="out")
    assert (
        omlab.predict(MODEL, [ct], prompts=points([(2, 1)])).place
        != omlab.predict(MODEL, [ct], prompts=points([(1, 1)])).place
    )


def test_positions_in_space_are_for_every_input_and_fail_the_cases_that_they_miss(ct, signal):
    short = signal("short.sig", [1])
    outcome = omlab.predict(MODEL, [ct, short], prompts=points([(14, 1)], space="ras", image=None), output="out")
    assert outcome.exit_status == 1
    assert values("out/ct.sig.txt") == [0, 0, 1, 0]
    assert "lies outside" in outcome.cases["short"].reason


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({}, UsageError, "'pointer' predicts what it is pointed at: give points with --points FILE, or let it click"),
        ({"model": "adder", "prompts": {}}, UsageError, "'part 1' is prompted by points, .*it takes no prompts"),
        ({"prompts": {"objects": [{"name": "a", "text": ["liver"]}]}}, UsageError, "text, .*it takes points"),
        ({"prompts": {"image": "mr.sig"}}, GeometryError, r"voxels of mr\.sig, not of ct\.sig"),
        ({"prompts": {"objects": []}}, InputError, r"p\.json is no prompts file: objects"),
        ({"prompts": {"objects": [{"name": "a", "points": []}]}}, InputError, "'a' has no prompt"),
        ({"prompts": {"space": "ras"}, "inputs": ["a.sig", "signals/ct.sig"]}, UsageError, "points into one image"),
        ({"prompts": None}, InputError, r"no prompts file p\.json"),
        ({"prompts": {}, "overlay": "out.jpg"}, UsageError, r"ends in \.png, or a folder"),
        ({"model": "writer", "overlay": "out.png"}, UsageError, "A text, which 'writer' gives, has no picture"),
        ({"model": "adder", "overlay": "a.sig"}, UsageError, r"cannot be written to a\.sig"),
        ({"model": "adder", "overlay": "there.png"}, OutputError, r"there\.png exists already"),
        (
            {"model": "adder", "inputs": ["a.sig", "signals/ct.sig"], "overlay": "out.png"},
            UsageError,
            r"2 pictures cannot go into one file out\.png",
        ),
    ],
)
def test_what_cannot_be_started_is_one_sentence_before_weights_are_looked_for(ct, call, error, message):
    Path("a.sig").write_text("signal\n1")
    Path("there.png").write_bytes(b"mine")
    if call.get("prompts") is not None:
        points([(1, 1)], name="p.json", **call["prompts"])
    arguments = {"model": "pointer", "inputs": [ct]} | call | ({"prompts": "p.json"} if "prompts" in call else {})
    with pytest.raises(error, match=message):  # "pointer" has weights that cannot be fetched
        omlab.predict(arguments.pop("model"), arguments.pop("inputs"), **arguments)
    assert not Path("omlab-runs").exists()
    assert Path("there.png").read_bytes() == b"mine"


def test_mask_files_belong_to_the_request(ct):
    entry = {"name": "a", "masks": [{"file": "rough.sig"}]}
    file = points(objects=[entry])
    with pytest.raises(InputError, match=r"names the mask rough\.sig, but there is no file"):
        omlab.predict(MODEL, [ct], prompts=file)
    Path("rough.sig").write_text("signal\n1")
    with pytest.raises(UsageError, match="masks, which 'pointer' does not take"):
        omlab.predict(MODEL, [ct], prompts=file)


def test_a_model_that_needs_prompts_is_not_evaluated_without(tmp_path):
    with pytest.raises(UsageError, match="evaluate the run's folder with --predictions"):
        omlab.evaluate("pointer", "ramps", evaluator="error")


def test_simulated_clicks_can_be_given_again(ct, signal):
    rough = signal("rough.sig", [0, 0, 1, 1])
    outcome = omlab.simulate(MODEL, ct, labels=rough, clicks=2, seed=1, output="out")
    names = sorted(path.name for path in outcome.place.iterdir())
    assert names == ["ct.clicks.csv", "ct.notes", "ct.prompts.json", "ct.sig.txt", "run.json"]
    with Path("out/ct.clicks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [
        {"object": "part", "round": "1", "dice": "0.5", "at": "3"},
        {"object": "part", "round": "2", "dice": "1.0", "at": "2"},
    ]
    assert prompts.read(Path("out/ct.prompts.json")).image == "ct.sig"
    again = omlab.predict(MODEL, [ct], prompts="out/ct.prompts.json", output="again.sig")
    assert values(again.place) == values("out/ct.sig.txt") == [0, 0, 1, 1]
    assert omlab.simulate(MODEL, ct, labels=rough, clicks=2, seed=1, output="out").was_complete
    with pytest.raises(OutputError, match="another request"):
        omlab.simulate(MODEL, ct, labels=rough, clicks=2, seed=2, output="out")
    signal("rough.sig", [1, 0, 1, 1])
    with pytest.raises(OutputError, match="another request"):
        omlab.simulate(MODEL, ct, labels=rough, clicks=2, seed=1, output="out")


def test_the_predictions_of_simulated_clicks_are_evaluated(tmp_path):
    data = omlab.load_dataset("ramps")
    data.prepare()
    file = tmp_path / "omlab-data" / "ramps" / "c.sig"
    omlab.simulate(MODEL, file, labels=file, clicks=1, output="out")
    outcome = omlab.evaluate(None, "ramps", predictions="out", evaluator="error", output="board")
    assert outcome.cases["c"].status == "done"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"model": "adder"}, UsageError, "'adder' does not simulate clicks"),
        ({"clicks": 0}, UsageError, "At least one click"),
        ({"labels": "nowhere.sig"}, InputError, r"nowhere\.sig does not exist"),
        ({"output": "mask.sig"}, UsageError, "name a folder with -o"),
        ({"input": "signals"}, UsageError, "signals holds 2 inputs"),
    ],
)
def test_a_simulation_that_cannot_be_started_is_one_sentence(ct, signal, call, error, message):
    rough = signal("rough.sig", [0, 1, 1, 1])
    arguments = {"model": "pointer", "input": ct, "labels": rough, "clicks": 1} | call
    with pytest.raises(error, match=message):
        omlab.simulate(arguments.pop("model"), arguments.pop("input"), **arguments)


@pytest.mark.parametrize(("reference", "reason"), [([1, 1], "not lie on the grid of"), ([0, 0, 0, 0], "is empty")])
def test_a_reference_that_does_not_fit_fails_the_case(ct, signal, reference, reason):
    outcome = omlab.simulate(MODEL, ct, labels=signal("rough.sig", reference), clicks=1, output="out")
    assert outcome.exit_status == 1
    assert reason in outcome.cases["ct"].reason
    assert sorted(path.name for path in Path("out").iterdir()) == ["run.json"]


def test_a_picture_is_drawn_and_drawn_again_without_predicting(ct):
    file = points([(1, 1)])
    outcome = omlab.predict(MODEL, [ct], prompts=file, output="mask.sig", overlay="out.png")
    assert outcome.pictures == (Path("out.png"),)
    drawn = Path("out.png").read_bytes()
    assert drawn.endswith(b"[5.0, 6.0, 7.0, 8.0] [0.0, 1.0, 0.0, 0.0] [1.0]")
    assert omlab.predict(MODEL, [ct], prompts=file, output="mask.sig", overlay="out.png").was_complete
    Path("out.png").unlink()
    assert omlab.predict(MODEL, [ct], prompts=file, output="mask.sig", overlay="out.png").was_complete
    assert Path("out.png").read_bytes() == drawn
    Path("out.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="is another picture") as stop:
        omlab.predict(MODEL, [ct], prompts=file, output="mask.sig", overlay="out.png")
    assert stop.value.exit_status == 1
    assert Path("out.png").read_bytes() == b"mine"


def test_a_picture_that_cannot_be_written_leaves_the_prediction_there(ct):
    Path("file").write_text("in the way")
    with pytest.raises(OutputError, match="a file stands where a folder is needed") as stop:
        omlab.predict("adder", [ct], output="mask.sig", overlay="file/out.png")
    assert stop.value.exit_status == 1
    assert Path("mask.sig").is_file()


def test_pictures_of_several_inputs_go_into_a_folder(ct, signal):
    bad = signal("bad.sig", [1])
    bad.write_text("prose")
    outcome = omlab.predict("adder", [ct, bad], output="out", overlay="pictures")
    assert [path.name for path in Path("pictures").iterdir()] == ["ct.png"]
    assert outcome.exit_status == 1
    Path("one").mkdir()
    omlab.predict("adder", [ct], output="two", overlay="one")
    assert Path("one/ct.png").is_file()


def test_a_picture_of_simulated_clicks_shows_them(ct, signal):
    rough = signal("rough.sig", [0, 0, 1, 1])
    omlab.simulate(MODEL, ct, labels=rough, clicks=2, output="out", overlay="out.png")
    assert Path("out.png").read_bytes().endswith(b"[2.0, 3.0]")
    assert "out.png" not in str(read_log(Path("out"))["cases"])
