"""docs/writing-a-plugin.md and docs/porting-a-model.md, run as they are written.

Fenced blocks with a title are files; `console` blocks are commands (`$ ...`) with text that their output must
hold. Two things stand in for the reader: the environment is the one at hand, and installing the package means
putting it on the path with the metadata that an installation would write.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from omlab import read_cards
from omlab.card_schema import validate
from omlab.errors import CardError
from tools.workspace import ROOT

BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)


def install(package: Path, *, name: str) -> None:
    metadata = package / "src" / f"omlab_{name}-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: omlab-{name}\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text(f"[omlab]\n{name} = omlab_{name}.plugin\n")


def run(command: str, *, cwd: Path, package: Path) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(package / "src"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    done = subprocess.run(command, shell=True, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_a_typo_on_the_card_is_told_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
    (card,) = [block["text"] for block in BLOCK.finditer(text) if str(block["title"]).endswith("cards.toml")]
    (tmp_path / "omlab_bright").mkdir()
    (tmp_path / "omlab_bright" / "cards.toml").write_text(card.replace("licence", "license"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    (offer,) = read_cards("omlab_bright", "model")
    with pytest.raises(CardError) as error:
        validate(offer)
    assert f"    {error.value}\n" in text


@pytest.mark.slow
@pytest.mark.parametrize(("page", "name"), [("writing-a-plugin.md", "bright"), ("porting-a-model.md", "edge")])
def test_the_tutorial_works_as_written(page: str, name: str, tmp_path: Path) -> None:
    package, cwd, output = tmp_path / f"omlab-{name}", tmp_path, ""
    commands = 0
    for block in BLOCK.finditer((ROOT / "docs" / page).read_text(encoding="utf-8")):
        if block["title"]:
            (package / block["title"]).write_text(block["text"], encoding="utf-8")
            continue
        assert block["language"] == "console"
        for line in block["text"].splitlines():
            if not line.startswith("$ "):
                assert line in output
            elif line.startswith("$ cd "):
                cwd = cwd / line.removeprefix("$ cd ")
            elif line.startswith("$ uv pip install"):
                install(package, name=name)
            else:
                output = run(line.removeprefix("$ "), cwd=cwd, package=package)
                commands += 1
    assert commands >= 6
    run("ruff check . && ruff format --check src tests", cwd=package, package=package)
