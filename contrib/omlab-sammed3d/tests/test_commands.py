"""`omlab predict` and `omlab simulate` as a user runs them: prompts as NAME=PATH, files, pictures, wrong prompts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

import omlab
from omlab_prompts.prompts_json import read
from omlab_testkit.at_work import omlab_command
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import LabelMap, Volume

Run = Callable[..., tuple[int, str, str]]
MODEL = "sammed3d-tiny.untrained"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `omlab` in a folder with two scans of one place, `ct.nii.gz` and `later.nii.gz`: (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    volume = example_volumes()[0]
    omlab.write(volume, "ct.nii.gz")
    omlab.write(volume.with_array(volume.array**2), "later.nii.gz")
    omlab.write(example_labelmaps()[0], "rough.nii.gz")

    run = omlab_command(monkeypatch, capsys)

    def command(*arguments: Any) -> tuple[int, str, str]:
        status, out, err = run(*arguments)
        return status, out, " ".join(err.split())

    return command


def labels_of(path: str | Path) -> LabelMap:
    return cast(LabelMap, omlab.read(path, kind="labelmap"))


def written(name: str, content: Any) -> str:
    Path(name).write_text(json.dumps(content))
    return f"prompts={name}"


def points(*at: list[float], **changes: Any) -> dict[str, Any]:
    clicks = [{"at": place} for place in at]
    return {"space": "voxel", "image": "ct.nii.gz", "objects": [{"name": "organ", "points": clicks}], **changes}


def test_one_file_with_its_picture(run: Run) -> None:
    prompts = written("clicks.json", points([8, 9, 5], [9, 9, 5]))
    status, _, err = run("predict", MODEL, "ct.nii.gz", prompts, "-o", "mask.nii.gz", "--overlay", "mask.png")
    assert status == 0, err
    labels = labels_of("mask.nii.gz")
    assert labels.same_grid(omlab.read("ct.nii.gz"))
    assert [label.name for label in labels.labels] == ["organ"]
    assert labels.array.any()
    with Image.open("mask.png") as picture:
        marked = np.asarray(picture.convert("RGB"))
    status, _, err = run("predict", MODEL, "ct.nii.gz", prompts, "-o", "mask.nii.gz", "--overlay", "mask.png")
    assert status == 0, err
    assert "Nothing to do" in err
    unmarked = labels.overlay({"volume": omlab.read("ct.nii.gz")})
    with Image.open(io.BytesIO(unmarked)) as picture:
        assert picture.size != marked.shape[1::-1] or not np.array_equal(np.asarray(picture.convert("RGB")), marked)
    status, _, err = run("predict", MODEL, "ct.nii.gz", written("clicks.json", points([8, 9, 5])), "-o", "mask.nii.gz")
    assert status == 2
    assert "another request" in err


def test_markups_of_3d_slicer_are_the_clicks_in_mm(run: Run) -> None:
    x, y, z = ((cast(Volume, omlab.read("ct.nii.gz")).affine) @ [8, 9, 5, 1])[:3]
    point = {"id": "1", "label": "F-1", "position": [-x, -y, z], "positionStatus": "defined"}
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": [point]}
    content = {"@schema": "markups-schema", "markups": [markup]}
    status, _, err = run("predict", MODEL, "ct.nii.gz", written("organ.mrk.json", content), "-o", "one.nii.gz")
    assert status == 0, err
    run("predict", MODEL, "ct.nii.gz", written("clicks.json", points([8, 9, 5])), "-o", "other.nii.gz")
    one, other = labels_of("one.nii.gz"), labels_of("other.nii.gz")
    assert [label.name for label in one.labels] == ["organ"]
    assert np.array_equal(one.array, other.array)


def test_positions_in_mm_are_for_every_scan(run: Run) -> None:
    at = ((cast(Volume, omlab.read("ct.nii.gz")).affine) @ [8, 9, 5, 1])[:3].tolist()
    prompts = written("world.json", points(at, space="ras", image=None))
    status, _, err = run("predict", MODEL, "ct.nii.gz", "later.nii.gz", prompts, "-o", "out", "--overlay", "pictures")
    assert status == 0, err
    assert labels_of("out/ct.nii.gz").array.any()
    assert {path.name for path in Path("pictures").iterdir()} == {"ct.png", "later.png"}
    voxels = written("clicks.json", points([8, 9, 5]))
    status, _, err = run("predict", MODEL, "ct.nii.gz", "later.nii.gz", voxels, "-o", "some")
    assert status == 1
    assert "voxels of ct.nii.gz, not of later.nii.gz" in " ".join(err.split())
    assert np.array_equal(labels_of("some/ct.nii.gz").array, labels_of("out/ct.nii.gz").array)
    assert not Path("some/later.nii.gz").exists()


BOX = {"name": "organ", "boxes": [{"near": [1, 1, 1], "far": [9, 9, 9]}]}


@pytest.mark.parametrize(
    ("model", "content", "status", "words"),
    [
        (MODEL, points([99, 0, 0]), 1, "A prompt of 'organ' lies outside ct.nii.gz: voxel (99.0, 0.0, 0.0)"),
        (MODEL, points([1, 1, 1], image="mr.nii.gz"), 1, "voxels of mr.nii.gz, not of ct.nii.gz"),
        (MODEL, {"space": "ras", "objects": []}, 1, "clicks.json is no prompts file: there are no objects"),
        (MODEL, points(), 1, "'organ' has no prompt: give points, boxes, masks or text"),
        (MODEL, [], 1, "clicks.json holds no prompts but []"),
        (MODEL, points(objects=[{"name": "organ", "text": ["liver"]}]), 1, "takes no text in 'prompts'"),
        ("sammed3d.untrained", points(objects=[BOX]), 1, "takes no boxes in 'prompts'; it takes points"),
        (MODEL, None, 2, "needs the input 'prompts'"),
    ],
)
def test_wrong_prompts_are_one_sentence(run: Run, model: str, content: Any, status: int, words: str) -> None:
    given = [written("clicks.json", content)] if content is not None else []
    found, _, err = run("predict", model, "ct.nii.gz", *given, "-o", "mask.nii.gz")
    assert found == status, err
    assert words in " ".join(err.split())
    assert not Path("mask.nii.gz").exists()


def test_simulated_clicks_and_their_prediction_again(run: Run) -> None:
    given = ("simulate", MODEL, "ct.nii.gz", "--labels", "rough.nii.gz", "--clicks", 2, "-o", "out")
    status, out, err = run(*given, "--overlay", "first.png")
    assert status == 0, err
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["Dice", "organ", "bone"]
    assert {"ct.prediction.nii.gz", "ct.prompts.json", "ct.clicks.csv"} <= {path.name for path in Path("out").iterdir()}
    with Path("out/ct.clicks.csv").open() as stream:
        rows = [(row["object"], row["round"]) for row in csv.DictReader(stream)]
    assert rows == [("organ", "1"), ("bone", "1"), ("organ", "2"), ("bone", "2")]
    assert [len(entry.points) for entry in read(Path("out/ct.prompts.json")).objects] == [2, 2]
    status, _, err = run("predict", MODEL, "ct.nii.gz", "prompts=out/ct.prompts.json", "-o", "again.nii.gz")
    assert status == 0, err
    again = labels_of("again.nii.gz")
    assert np.array_equal(again.array, labels_of("out/ct.prediction.nii.gz").array)
    status, _, err = run(*given, "--overlay", "later.png")
    assert status == 0, err
    assert "Nothing to do" in err
    inputs = {"volume": omlab.read("ct.nii.gz"), "prompts": omlab.read("out/ct.prompts.json", kind="prompts")}
    marked = again.overlay(inputs, target=labels_of("rough.nii.gz"))
    assert Path("first.png").read_bytes() == Path("later.png").read_bytes() == marked


def test_another_seed_and_rule_are_another_request(run: Run) -> None:
    given = ("simulate", MODEL, "ct.nii.gz", "--labels", "rough.nii.gz", "--clicks", 1, "-o", "out")
    assert run(*given)[0] == 0
    for other in (("--seed", 1), ("-s", "rule=random")):
        status, _, err = run(*given, *other)
        assert status == 2
        assert "another request" in err
    status, _, err = run(*given[:-1], "none", "-s", "ruel=random")
    assert status == 2
    assert "did you mean 'rule'" in err
