"""docs/few-shots.md, run as it is written."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import pages
from tools.workspace import ROOT

PAGE = ROOT / "docs" / "few-shots.md"

pytestmark = pytest.mark.slow


def test_the_page_works_as_written(tmp_path: Path) -> None:
    (drawing,) = pages.blocks(PAGE, language="python")
    subprocess.run([sys.executable, "-c", drawing], cwd=tmp_path, check=True)
    for block in pages.blocks(PAGE):
        pages.shell(block, cwd=tmp_path)
    assert json.loads((tmp_path / "answer.json").read_text())["predicted"][0] in ("healthy", "mild", "severe")
    lines = list(csv.DictReader((tmp_path / "board" / "leaderboard.csv").read_text().splitlines()))
    assert {line["shots"] for line in lines} == {"1", "5"}
    for page in ("board/report.html", "report/report.html"):
        assert (tmp_path / page).is_file()
    rows = json.loads((tmp_path / "pretrained" / "history.json").read_text())
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_every_adapter_of_the_page_is_there() -> None:
    from omlab.registry import registry

    named = re.findall(r"^\| `([a-z-]+)`(?:, `([a-z-]+)`)? \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    known = {card.name for card in registry().cards("adapter")}
    assert {name for row in named for name in row if name} <= known
