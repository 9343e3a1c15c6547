"""README.md, docs/index.md, docs/training.md and docs/reading-a-report.md, run.

docs/training.md runs as it is written. The others name published weights and a reader's own files: a narrow untrained
model and phantoms stand in for them.
"""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import pages
from tools.shown.chats import CHATS
from tools.shown.clips import CLIPS
from tools.shown.images import IMAGES
from tools.shown.proteins import PROTEINS
from tools.shown.slides import SLIDES
from tools.workspace import ROOT

pytestmark = pytest.mark.slow

IN_PLACE = (
    (r"stunet-(base|small)(\.totalsegmentator)?", "stunet-tiny.untrained"),
    (r" --weights (base_ep4k\.model|cvc\.pth|PULSE-7bv5/)", ""),
    (r", weights=\"base_ep4k\.model\"", ""),
    (r"sammed3d\.turbo", "sammed3d-tiny.untrained"),
)
QUICK = {
    " adapt ": " -s epochs=1 -s steps_per_epoch=1 -s windows=1 -s patch_size=32,32,32 -s augment=no",
    "predict stunet": " -s mirror=no -s step=1",
    "predict mine": " -s mirror=no -s step=1",
    "evaluate mine": " -s model.mirror=no -s model.step=1",
}
LOADED = 'load_model("stunet-tiny.untrained"'
QUICK_PYTHON = LOADED + ', settings={"mirror": False, "step": 1.0}'
FIRST_LOOK = (ROOT / "README.md", ROOT / "docs" / "index.md")
SHOWN = r"^    ((?:[A-Z_]+=\S+ )?(?:uv run )?(?:omlab|torchrun) .*)$"
NOT_HERE = ("omlab demo", "omlab new", "omlab benchmark")
"""Commands that have tests of their own."""
ELSEWHERE = {
    "endofm-segment": CLIPS,
    "pathoduet-he": SLIDES,
    "retfound-mae.cfp fundus/": IMAGES,
    "esm2-t33": PROTEINS,
    "pulse-7b": CHATS,
}
"""What stands in lines of a first look at no volumes, and the reader of the page that has more of it."""
CLICKS = {"space": "voxel", "image": "ct.nii.gz", "objects": [{"name": "a", "points": [{"at": [20, 20, 10]}]}]}


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder with the files that the pages speak of."""
    folder = tmp_path
    pages.shell(
        """
        omlab datasets prepare abdomen-phantom --root phantom -s train=3 -s test=2 -s scale=0.4
        cp phantom/images/test-01.nii.gz a.nii.gz; cp phantom/images/test-02.nii.gz b.nii.gz; cp a.nii.gz ct.nii.gz
        mkdir series_folder; cp b.nii.gz series_folder
        echo id,volume >list.csv; echo a,a.nii.gz >>list.csv
        mkdir -p Dataset017_Abdomen/{images,labels}{Tr,Ts}
        for kind in train test; do
            part=$([ $kind = train ] && echo Tr || echo Ts)
            for path in phantom/images/$kind-*; do
                name=$(basename $path .nii.gz)
                cp $path Dataset017_Abdomen/images$part/${name}_0000.nii.gz
                cp phantom/labels/$name.nii.gz Dataset017_Abdomen/labels$part
            done
        done
        """,
        cwd=folder,
    )
    (folder / "clicks.json").write_text(json.dumps(CLICKS))
    names = ("liver", "spleen", "kidney_left", "kidney_right", "aorta", "spine")
    labels = {"background": 0, **{name: value for value, name in enumerate(names, start=1)}}
    facts = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 3, "file_ending": ".nii.gz"}
    (folder / "Dataset017_Abdomen" / "dataset.json").write_text(json.dumps(facts))
    return folder


def in_place(text: str) -> str:
    for pattern, with_ in IN_PLACE:
        text = re.sub(pattern, with_, text)
    return text


def first_look() -> list[str]:
    """The lines of both pages, each once: they have most of them in common."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in FIRST_LOOK)
    found = re.findall(SHOWN, text, re.MULTILINE)
    return list(dict.fromkeys(line.replace("uv run ", "").partition("  #")[0].rstrip() for line in found))


def test_the_commands_of_a_first_look_work(reader: Path) -> None:
    before = set(reader.iterdir())
    lines = [line for line in first_look() if not line.startswith(NOT_HERE)]
    ran = [in_place(line) for line in lines if not any(one in line for one in ELSEWHERE)]
    assert len(ran) >= 14
    for line in ran:
        pages.shell(line + next((more for words, more in QUICK.items() if words in line), ""), cwd=reader)
    made = {path.name for path in set(reader.iterdir()) - before}
    assert made >= {"out", "mine", "report", "parts", "together", "mask.nii.gz", "mask.png"}
    assert not [name for name in made if name.endswith(".partial")]
    for page in FIRST_LOOK:
        (block,) = pages.blocks(page, language="python")
        code = in_place(block)
        assert LOADED in code
        subprocess.run([sys.executable, "-c", code.replace(LOADED, QUICK_PYTHON)], cwd=reader, check=True)


@pytest.mark.parametrize("model", ELSEWHERE)
def test_a_first_look_at_no_volumes_works(model: str, tmp_path: Path) -> None:
    (line,) = (line for line in first_look() if model in line and not line.startswith(NOT_HERE))
    reader = ELSEWHERE[model]
    reader.files(tmp_path)
    pages.shell(f"{reader.in_place(in_place(line), server='')} <<< {shlex.quote(reader.typed)}", cwd=tmp_path)


def test_the_page_on_training_works_as_written(tmp_path: Path) -> None:
    blocks = pages.blocks(ROOT / "docs" / "training.md")
    for block in blocks:
        pages.shell(block, cwd=tmp_path)
    assert len(blocks) == 7
    figures = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("*/history.json")}
    assert figures["mine"][-1]["loss"] < figures["mine"][0]["loss"]
    assert 0 <= figures["both"][-1]["val_kept_dice"] <= 1
    sizes = {name: (tmp_path / name / "weights.safetensors").stat().st_size for name in ("mine", "further", "small")}
    assert max(sizes["further"], sizes["small"]) < sizes["mine"] / 2
    assert json.loads((tmp_path / "together" / "run.json").read_text())["request"]["processes"] == 2
    assert list((tmp_path / "logs").rglob("events.*"))
    assert list((tmp_path / ".cache" / "prepared").glob("*/entry.json"))
    metrics = json.loads((tmp_path / "report" / "report.json").read_text())["metrics"]
    assert {metric["label"] for metric in metrics} >= {"liver", "spine"}


def test_the_commands_of_the_page_on_reports_work(reader: Path) -> None:
    (block,) = pages.blocks(ROOT / "docs" / "reading-a-report.md")
    judged, of_theirs = block.splitlines()
    pages.shell(f"{judged} -s model.mirror=no -s model.step=1", cwd=reader)
    page = html.unescape((reader / "report" / "report.html").read_text(encoding="utf-8"))
    assert "The weights of 'stunet-tiny.untrained' are untrained" in page
    shutil.copytree(reader / "Dataset017_Abdomen" / "labelsTs", reader / "theirs")
    pages.shell(of_theirs, cwd=reader)
    page = html.unescape((reader / "report-of-theirs" / "report.html").read_text(encoding="utf-8"))
    assert "predictions of unknown origin on nnunet" in page
    assert "Axial slice " in page
