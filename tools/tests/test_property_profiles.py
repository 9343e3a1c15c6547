"""The two ways in which property tests draw: always the same, or deep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.workspace import ROOT

TEST = """
from pathlib import Path
from hypothesis import given, settings, strategies as st

@settings(max_examples=7)
@given(number=st.integers(0, 10**12))
def test_numbers(number):
    with Path(__file__).with_name("drawn.txt").open("a") as file:
        print(number, file=file)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package's tests as noxfile.py runs them: the configuration and conftest.py above, the root its own folder."""
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    folder = tmp_path / "contrib" / "omlab-some"
    (folder / "tests").mkdir(parents=True)
    (folder / "tests" / "test_numbers.py").write_text(TEST)
    return folder


def drawn(package: Path, *, profile: str) -> list[int]:
    """The numbers that one run draws."""
    numbers = package / "tests" / "drawn.txt"
    numbers.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(package.parents[1] / "pyproject.toml"), "--rootdir", "."]
    environment = {**os.environ, "OMLAB_HYPOTHESIS": profile}
    subprocess.run([*command, "tests"], cwd=package, env=environment, check=True, capture_output=True)
    return [int(line) for line in numbers.read_text().split()]


def test_ordinary_runs_draw_the_same(package: Path) -> None:
    first = drawn(package, profile="")
    assert len(first) <= 7
    assert drawn(package, profile="") == first


def test_deep_runs_draw_other_numbers_and_more_of_them(package: Path) -> None:
    first = drawn(package, profile="deep")
    assert len(first) > 7 * 10
    assert drawn(package, profile="deep") != first
