"""The pins hold what packages ask for, and are written without a word of where anything comes from."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tools import pins, workspace

PYPROJECT = """\
[project]
name = "tiny-workspace"
version = "0"
requires-python = ">=3.11"
dependencies = ["tiny-base"]

[tool.uv]
package = false
constraint-dependencies = [
    "gone==1.0",
]

[tool.uv.workspace]
members = ["base"]

[tool.uv.sources]
tiny-base = { workspace = true }
"""
BASE = """\
[project]
name = "tiny-base"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = DEPENDENCIES
"""


def core_asking_for(*rows: str) -> workspace.Package:
    return replace(workspace.packages()[0], dependencies=rows, optional=(), test=())


def test_what_no_pin_holds_is_named() -> None:
    (absent,) = pins.unpinned(core_asking_for("nonsense>=1", "numpy>=1.26", "omlab-train"))
    assert absent == "omlab-core asks for nonsense>=1, which has no pin: run python -m tools.pins."
    (old,) = pins.unpinned(core_asking_for("numpy>=99"))
    assert re.search(r"asks for numpy>=99, but the pin is numpy==\S+: run python -m tools\.pins numpy\.", old)


def test_pins_hold_versions_and_no_addresses() -> None:
    assert len(workspace.pins()) > 100  # what is needed by what is needed, too
    for row in workspace.pins():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [\w. '<>=!()*]+)?", row)


def test_refreshing_drops_what_nobody_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "pyproject.toml").write_text(BASE.replace("DEPENDENCIES", "[]"))
    assert pins.refresh() == []
    assert "gone" not in (tmp_path / "pyproject.toml").read_text()
    assert workspace.pins() == []


def test_pins_stay_as_they_are_where_nothing_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    monkeypatch.setenv("UV_OFFLINE", "1")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "pyproject.toml").write_text(BASE.replace("DEPENDENCIES", '["no-such-thing>=1", "gone"]'))
    with pytest.raises(ValueError, match=r"no-such-thing|gone"):
        pins.refresh()
    assert (tmp_path / "pyproject.toml").read_text() == PYPROJECT
