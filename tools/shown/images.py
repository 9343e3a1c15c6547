"""The reader of docs/images.md: the page's own drawn frames, which are photographs too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tools import pages
from tools.shown.reader import Reader
from tools.workspace import ROOT


def files(folder: Path) -> None:
    """What the page's first Python draws, and the photographs that its beginning speaks of."""
    drawing = pages.blocks(ROOT / "docs" / "images.md", language="python")[0]
    subprocess.run([sys.executable, "-c", drawing], cwd=folder, check=True)  # noqa: S603 - our own page
    shutil.copytree(folder / "lesions", folder / "fundus")
    shutil.copytree(folder / "lesions" / "dark", folder / "photographs")
    shutil.copy(folder / "frames" / "00.png", folder / "fundus.jpg")  # files are told by their content


IMAGES = Reader(
    files=files,
    instead=[("retfound-mae.cfp", "retfound-tiny"), ("(--adapter finetune .*)", r"\1 -s epochs=1 -s warmup_epochs=0")],
)
