"""Packages that `omlab new` writes pass ruff, mypy and their own tests as they stand.

They are not installed but put on the path with the metadata that an installation would write.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omlab import scaffold
from tools.workspace import ROOT


def run(*command: str, cwd: Path, path: Path | None = None) -> None:
    environment = {**os.environ, "PYTHONPATH": str(path) if path else "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"


def pretend_to_install(folder: Path, *, name: str) -> None:
    module = f"omlab_{name.replace('-', '_')}"
    metadata = folder / "src" / f"{module}-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: omlab-{name}\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text(f"[omlab]\n{name} = {module}.plugin\n")


@pytest.mark.parametrize("kind", scaffold.NEW_KINDS)
def test_a_package_of_its_own_passes(kind: scaffold.NewKind, tmp_path: Path) -> None:
    scaffold.create(kind, "zz-tiny", destination=tmp_path, contrib=False)
    folder = tmp_path / "omlab-zz-tiny"
    run("ruff", "check", ".", cwd=folder)
    run("ruff", "format", "--check", ".", cwd=folder)
    pretend_to_install(folder, name="zz-tiny")
    run("pytest", "-q", "-p", "no:cacheprovider", cwd=folder, path=folder / "src")


@pytest.mark.parametrize("kind", scaffold.NEW_KINDS)
def test_a_contributed_package_keeps_the_rules_of_the_workspace(kind: scaffold.NewKind, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    for area in ("core", "packages"):  # by these ruff knows which imports are ours
        (tmp_path / area).symlink_to(ROOT / area)
    scaffold.create(kind, "aa-much-longer-name-than-usual", destination=tmp_path, contrib=True)
    run("ruff", "check", "contrib", cwd=tmp_path)
    run("ruff", "format", "--check", "contrib", cwd=tmp_path)
    folder = tmp_path / "contrib" / "omlab-aa-much-longer-name-than-usual"
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
