"""`omlab predict` and `omlab simulate` as a user runs them: pictures and volumes under one name, wrong prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import omlab
from omlab_image.image import Image, LabelMap2D
from omlab_testkit.at_work import omlab_command
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import LabelMap

Run = Callable[..., tuple[int, str, str]]
MODEL = "sammed2d-tiny.untrained"
SLICES = Path("/work/shared/data/slices-2d")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `omlab` in a folder with `slice.png` and `ct.nii.gz`: (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    omlab.write(Image(array=np.random.default_rng(0).integers(0, 255, (30, 40), np.uint8)), "slice.png")
    omlab.write(example_volumes()[0], "ct.nii.gz")
    labels = np.zeros((30, 40), np.uint8)
    labels[5:20, 10:30] = 1
    omlab.write(LabelMap2D(array=labels, names={1: "organ"}), "organ.png")
    omlab.write(example_labelmaps()[0], "organs.nii.gz")

    run = omlab_command(monkeypatch, capsys)

    def command(*arguments: Any) -> tuple[int, str, str]:
        status, out, err = run(*arguments)
        return status, out, " ".join(err.split())

    return command


def written(name: str, image: str, *objects: dict[str, Any], space: str = "pixel") -> str:
    Path(name).write_text(json.dumps({"space": space, "image": image, "objects": list(objects)}))
    return f"prompts={name}"


CLICK = {"name": "organ", "points": [{"at": [12, 9]}, {"at": [3, 3], "label": 0}]}
BOX = {"name": "organ", "boxes": [{"near": [8, 6, 4], "far": [14, 12, 5]}]}


def test_a_picture_and_a_volume_under_one_name(run: Run) -> None:
    clicks = written("clicks.json", "slice.png", CLICK)
    status, _, err = run("predict", MODEL, "slice.png", clicks, "-o", "mask.png", "--overlay", "over.png")
    assert status == 0, err
    mask = cast(LabelMap2D, omlab.read("mask.png", kind="labelmap-2d"))
    assert mask.shape == (30, 40)
    assert Path("over.png").exists()
    boxes = written("boxes.json", "ct.nii.gz", BOX, space="voxel")
    status, _, err = run("predict", MODEL, "ct.nii.gz", boxes, "-o", "mask.nii.gz", "-s", "axis=axial")
    assert status == 0, err
    assert "sammed2d-tiny-volume.untrained" in err
    found = cast(LabelMap, omlab.read("mask.nii.gz", kind="labelmap"))
    assert found.same_grid(omlab.read("ct.nii.gz"))
    outside = np.delete(found.array, [4, 5], axis=2)
    assert not outside.any()


@pytest.mark.parametrize(
    ("image", "prompts", "status", "words"),
    [
        ("slice.png", ("slice.png", {"name": "a", "points": [{"at": [99, 0]}]}, "pixel"), 1, "lies outside slice.png"),
        ("slice.png", ("ct.nii.gz", BOX, "voxel"), 1, "voxels of ct.nii.gz, not of slice.png"),
        ("slice.png", ("slice.png", BOX, "pixel"), 1, "'near' must be two finite numbers"),
        ("ct.nii.gz", ("ct.nii.gz", CLICK, "pixel"), 1, "pixels of ct.nii.gz, but a volume is pointed at in voxels"),
        ("slice.png", ("slice.png", {"name": "a", "text": ["liver"]}, "pixel"), 1, "takes no text in 'prompts'"),
        ("slice.png", None, 2, "needs the input 'prompts'"),
        ("none.png", ("slice.png", CLICK, "pixel"), 2, "none.png does not exist"),
    ],
)
def test_wrong_prompts_are_one_sentence(run: Run, image: str, prompts: Any, status: int, words: str) -> None:
    given = [] if prompts is None else [written("p.json", prompts[0], prompts[1], space=prompts[2])]
    found, _, err = run("predict", MODEL, image, *given, "-o", f"mask{'.png' if 'png' in image else '.nii.gz'}")
    assert found == status, err
    assert words in err


def test_simulated_clicks_in_both(run: Run) -> None:
    for image, labels in (("slice.png", "organ.png"), ("ct.nii.gz", "organs.nii.gz")):
        folder = f"{image}-out"
        status, out, err = run(
            "simulate", MODEL, image, "--labels", labels, "--clicks", 2, "-s", "start=box", "-o", folder
        )
        assert status == 0, err
        assert "organ" in out
        assert {path.suffix for path in Path(folder).iterdir()} >= {".csv", ".json"}


@pytest.mark.skipif(not SLICES.is_dir(), reason="the real slices are not here")
def test_real_slices_run_end_to_end(run: Run) -> None:
    picture = sorted((SLICES / "images").glob("*.png"))[0]
    organ = sorted((SLICES / "masks").glob(f"{picture.stem}_*.png"))[0]
    status, _, err = run(
        "simulate", MODEL, picture, "--labels", organ, "--clicks", 1, "-o", "out", "--overlay", "o.png"
    )
    assert status == 0, err
    assert Path("o.png").exists()
