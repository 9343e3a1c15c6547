"""Predicting what a user points at, and simulated clicks, on a toy plugin that is installed."""

import csv
import json
from pathlib import Path

import pytest

from omlab_prompts.prompts_json import read
from omlab_testkit.at_work import installed_toy, omlab_command

TOY = Path(__file__).parent / "toy"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The toy plugin as an installed distribution."""
    with installed_toy(TOY, package="omlab_row", site=tmp_path_factory.mktemp("toy") / "site"):
        yield


@pytest.fixture
def run(toy, tmp_path, monkeypatch, capsys):
    """Run `omlab` in a folder of its own; returns (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    return omlab_command(monkeypatch, capsys, columns=80)


@pytest.fixture
def image(tmp_path):
    Path("ct.row").write_text("5 6 7 8")
    Path("rough.row").write_text("0 0 1 1")
    return "ct.row"


def points(*objects, name="prompts.json", **fields):
    """Write a prompts file with points (position along the row, label)."""
    rows = [
        {"name": f"part {n}", "points": [{"at": [x, 0, 0], "label": label} for x, label in entry]}
        for n, entry in enumerate(objects, start=1)
    ]
    Path(name).write_text(json.dumps({"space": "voxel", "image": "ct.row", "objects": rows} | fields))
    return f"prompts={name}"


def numbers(path):
    return [float(line) for line in Path(path).read_text().split()]


def test_clicks_are_simulated_and_can_be_given_again(run, image):
    status, out, err = run(
        "simulate", "pointer", image, "--labels", "rough.row", "--clicks", 2, "--seed", 1, "-o", "out"
    )
    assert status == 0, err
    assert out.splitlines()[0].split() == ["Dice", "after", "click", "1", "2"]
    assert out.splitlines()[1].split() == ["[part]", "0.500", "1.000"]
    names = {path.name for path in Path("out").iterdir()}
    assert names == {"ct.prediction.row", "ct.prompts.json", "ct.clicks.csv", "run.json", "cases.jsonl"}
    with Path("out/ct.clicks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [
        {"object": "[part]", "round": "1", "dice": "0.5", "at": "3"},
        {"object": "[part]", "round": "2", "dice": "1.0", "at": "2"},
    ]
    assert len(read(Path("out/ct.prompts.json")).objects[0].points) == 2
    status, _, err = run("predict", "pointer", image, "prompts=out/ct.prompts.json", "-o", "again.row")
    assert status == 0, err
    assert numbers("again.row") == numbers("out/ct.prediction.row") == [0, 0, 1, 1]
    status, out, err = run(
        "simulate", "pointer", image, "--labels", "rough.row", "--clicks", 2, "--seed", 1, "-o", "out"
    )
    assert status == 0
    assert "Nothing to do" in err
    assert "0.500" in out
    for other in (("--clicks", 3, "--seed", 1), ("--clicks", 2, "--seed", 2)):
        status, _, err = run("simulate", "pointer", image, "--labels", "rough.row", *other, "-o", "out")
        assert status == 2
        assert "another request" in err
    Path("rough.row").write_text("1 0 1 1")  # another reference: the case is done again
    status, out, err = run(
        "simulate", "pointer", image, "--labels", "rough.row", "--clicks", 2, "--seed", 1, "-o", "out"
    )
    assert status == 0, err
    with Path("out/ct.clicks.csv").open() as stream:
        assert [row["at"] for row in csv.DictReader(stream)] == ["2", "3"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("blind", "ct.row", "--labels", "rough.row", "--clicks", 1), "has no verb 'simulate'"),
        (("copier", "ct.row", "--labels", "rough.row", "--clicks", 1), "without an input 'reference'"),
        (("pointr", "ct.row", "--labels", "rough.row", "--clicks", 1), "did you mean 'pointer'"),
        (("pointer", "ct.row", "--labels", "rough.row", "--clicks", 0), "--clicks"),
        (("pointer", "ct.row", "--labels", "rough.row"), "--clicks"),
        (("pointer", "ct.row", "--clicks", 1), "--labels"),
        (("pointer", "ct.row", "--labels", "nowhere.row", "--clicks", 1), "nowhere.row does not exist"),
        (("pointer", "nowhere.row", "--labels", "rough.row", "--clicks", 1), "nowhere.row does not exist"),
        (("pointer", "rows", "--labels", "rough.row", "--clicks", 1), "rows holds 2 inputs"),
        (("pointer", "ct.row", "--labels", "rough.row", "--clicks", 1, "-o", "m.row"), "cannot be written to m.row"),
        (("pointer", "ct.row", "--labels", "rough.row", "--clicks", 1, "-s", "sed=1"), "no setting 'sed'"),
    ],
)
def test_what_cannot_be_started_is_one_sentence(run, image, arguments, words):
    Path("rows").mkdir()
    for name in ("a.row", "b.row"):
        Path("rows", name).write_text("1")
    status, _, err = run("simulate", *arguments)
    assert status == 2
    assert words in " ".join(err.split())
    assert not Path("omlab-runs").exists()


@pytest.mark.parametrize(("reference", "reason"), [("1 1", "not lie on the grid"), ("0 0 0 0", "is empty")])
def test_a_reference_that_does_not_fit_fails_the_case(run, image, reference, reason):
    Path("rough.row").write_text(reference)
    status, out, err = run("simulate", "pointer", image, "--labels", "rough.row", "--clicks", 1, "-o", "out")
    assert status == 1
    assert reason in err
    assert out == ""
    assert {path.name for path in Path("out").iterdir()} <= {"run.json", "cases.jsonl", "scratch"}


def test_the_command_is_listed_with_its_help(run):
    status, out, _ = run("--help")
    assert status == 0
    assert "simulate" in out
    status, out, _ = run("simulate", "--help")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80


def test_several_objects_are_predicted_from_a_file_and_from_3d_slicer(run, image):
    status, _, err = run("predict", "pointer", image, points([(1, 1)], [(2, 1), (3, 1), (3, 0)]), "-o", "mask.row")
    assert status == 0, err
    assert numbers("mask.row") == [0, 1, 2, 0]
    point = {"position": [-14, 0, 0], "label": "F-1"}
    Path("F.mrk.json").write_text(json.dumps({"markups": [{"type": "Fiducial", "controlPoints": [point]}]}))
    status, _, err = run("predict", "pointer", image, "prompts=F.mrk.json", "-o", "two.row")
    assert status == 0, err
    assert numbers("two.row") == [0, 0, 1, 0]
    value = '{"space": "ras", "objects": [{"name": "a", "points": [{"at": [14, 0, 0]}]}]}'
    status, _, err = run("predict", "pointer", image, f"prompts:={value}", "-o", "three.row")
    assert status == 0, err
    assert numbers("three.row") == [0, 0, 1, 0]


def test_positions_in_space_are_for_every_input_and_fail_the_cases_that_they_miss(run, image):
    Path("short.row").write_text("1")
    prompts = points([(14, 1)], space="ras", image=None)
    status, _, err = run("predict", "pointer", image, "short.row", prompts, "-o", "out")
    assert status == 1
    assert numbers("out/ct.row") == [0, 0, 1, 0]
    assert "short failed: A prompt of 'part 1' lies outside short.row" in " ".join(err.split())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"image": "mr.row"}, "voxels of mr.row, not of ct.row"),
        ({"objects": [{"name": "a", "text": ["liver"]}]}, "takes no text in 'prompts'; it takes points"),
        ({"objects": []}, "p.json is no prompts file: there are no objects"),
        ({"objects": [{"name": "a", "points": []}]}, "'a' has no prompt"),
    ],
)
def test_prompts_that_cannot_be_used_fail_the_case_with_a_sentence(run, image, content, words):
    status, _, err = run("predict", "pointer", image, points([(1, 1)], name="p.json", **content), "-o", "out")
    assert status == 1
    assert words in " ".join(err.split())


def test_a_model_that_needs_prompts_says_so(run, image):
    status, _, err = run("predict", "pointer", image, "-o", "out")
    assert status == 2
    assert "needs the input 'prompts', prompts (points): give prompts=FILE" in " ".join(err.split())
