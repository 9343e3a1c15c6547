"""docs/install.md, run as it is written: one model package with what it needs, in an environment of its own."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.pages import blocks
from tools.workspace import ROOT


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")
def test_one_model_package_is_installed_as_the_page_says(tmp_path: Path) -> None:
    script = blocks(ROOT / "docs" / "install.md")[0]
    for shown in ("--python mine", "uv venv mine", "mine/bin"):
        script = script.replace(shown, shown.replace("mine", str(tmp_path / "mine")))
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "esm2-t33" in done.stdout
    listed = subprocess.run([tmp_path / "mine/bin/omlab", "list", "models", "--json"], capture_output=True, text=True)
    packages = {model["distribution"] for model in json.loads(listed.stdout)["models"]}
    assert packages == {"omlab-esm"}
