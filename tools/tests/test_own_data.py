"""docs/own-data.md, run as it is written, and a table that mixes phantoms with the real images of ../shared."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.workspace import ROOT

PAGE = ROOT / "docs" / "own-data.md"
SHARED = next((up / "shared" / "data" for up in ROOT.parents if (up / "shared" / "data").is_dir()), ROOT / "absent")
BLOCK = re.compile(r"^```(?P<language>sh|python)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
QUICK = "-s epochs=1 -s steps_per_epoch=2 -s windows=1 -s patch_size=32,32,32 -s augment=no"

pytestmark = pytest.mark.slow


def run(*command: str, cwd: Path) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMLAB_CACHE": str(cwd / ".cache"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shell(text: str, *, cwd: Path) -> str:
    return run("bash", "-euo", "pipefail", "-c", text, cwd=cwd)


def test_the_page_works_as_written(tmp_path: Path) -> None:
    said = []
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["language"] == "sh":
            said.append(shell(block["text"], cwd=tmp_path))
        else:
            said.append(run(sys.executable, "-c", block["text"], cwd=tmp_path))
    assert len(said) == 6
    assert "classes: 1 liver, 2 spleen, 3 kidney_left" in said[2]
    assert "Nothing is wrong." in said[2]
    assert "data:image/png" in (tmp_path / "looked" / "data.html").read_text()
    assert sorted(path.name for path in (tmp_path / "predictions").glob("*.nii.gz")) == [
        "test-01.nii.gz",
        "test-02.nii.gz",
    ]
    for report, cases in (("report", 2), ("report-too", 1)):
        assert (tmp_path / report / "report.html").is_file()
        metrics = json.loads((tmp_path / report / "report.json").read_text())["metrics"]
        assert {metric["label"] for metric in metrics} >= {"liver", "spine"}
        assert max(metric["n"] for metric in metrics) == cases
    assert [path.name for path in (tmp_path / "out").glob("*.nii.gz")] == ["e.nii.gz"]
    assert len(said[-1].splitlines()) == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not here")
def test_real_images_stand_beside_phantoms_in_one_table(tmp_path: Path) -> None:
    shell("omlab datasets prepare abdomen-phantom --root phantom -s train=2 -s test=1 -s scale=0.4", cwd=tmp_path)
    rows = ["id,volume,target,split"]
    for id, split in (("train-01", "train"), ("train-02", "train"), ("test-01", "test")):
        rows.append(f"{id},phantom/images/{id}.nii.gz,phantom/labels/{id}.nii.gz,{split}")
    rows.append(f"angiography,{SHARED}/ct-head-nifti/ct_avm.nii.gz,,look")
    rows.append(f"brain,{SHARED}/mr-brain-nifti/icbm152_t1.nii.gz,,look")
    rows.append(f"series,{SHARED}/ct-head-dicom,,look")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    assert "look: 3 cases" in shell("omlab datasets verify cases list.csv", cwd=tmp_path)
    data = "--data cases:list.csv"
    shell(f"omlab adapt stunet-tiny.untrained {data} --recipe segmentation -o mine {QUICK}", cwd=tmp_path)
    shell(f"omlab evaluate mine {data} -o report", cwd=tmp_path)
    coarse = "-s spacing=6,6,6 -s mirror=no -s step=1"
    shell(f"omlab predict mine {data} --split look -o out {coarse}", cwd=tmp_path)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made >= {"angiography.nii.gz", "brain.nii.gz", "series.nii.gz", "series.dcm"}
