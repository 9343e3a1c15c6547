"""docs/adding-a-kernel.md: its files are an operator that passes its tests, and what it names is there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.workspace import ROOT

PAGE = ROOT / "docs" / "adding-a-kernel.md"
KERNELS = ROOT / "packages" / "omlab-kernels"
FILE = re.compile(r'^```python title="(?P<path>[^"]+)"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
BESIDE = """
import omlab_kernels

omlab_kernels.__path__.append({folder!r})
"""


def run(*command: str, cwd: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_the_operator_of_the_page_passes_its_tests(tmp_path: Path) -> None:
    """In a folder beside the package, whose conftest.py its tests have."""
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for found in FILE.finditer(PAGE.read_text(encoding="utf-8")):
        path = tmp_path / found["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["text"], encoding="utf-8")
    ours = 'lint.isort.known-first-party = ["omlab_kernels"]'
    run("ruff", "check", "--config", ours, "src", "tests", cwd=tmp_path)
    run("ruff", "format", "--check", "src", "tests", cwd=tmp_path)
    conftest = (KERNELS / "tests" / "conftest.py").read_text(encoding="utf-8")
    beside = BESIDE.format(folder=str(tmp_path / "src" / "omlab_kernels"))
    (tmp_path / "tests" / "conftest.py").write_text(conftest + beside, encoding="utf-8")
    run("pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=tmp_path)


def test_the_files_and_operators_that_the_page_names_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## 5.")[2]
    named = re.findall(r"`((?:src|tests|benchmarks|tools)/[\w./]+)`", text)
    assert len(named) >= 6
    assert [path for path in named if not any((root / path).is_file() for root in (KERNELS, ROOT))] == []


@pytest.mark.slow
def test_the_benchmark_of_the_page_runs(tmp_path: Path) -> None:
    (line,) = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if "--rehearse" in line]
    script, *options = shlex.split(line, comments=True)[1:]
    done = subprocess.run([sys.executable, ROOT / script, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rows.csv").read_text().count("patch-error") >= 2
