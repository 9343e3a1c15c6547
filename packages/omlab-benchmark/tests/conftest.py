"""A toy plugin of readings, installed as a real distribution in a folder of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from omlab.plugins import installed
from omlab.registry import registry

TOY = Path(__file__).parent / "toy"
NEEDED = ("adapters", "payloads", "evaluators", "benchmark")


def forget_plugins() -> None:
    installed.cache_clear()
    registry.cache_clear()


@pytest.fixture
def readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toy plugin beside adapters, evaluators and shared payloads, and nothing else."""
    site = tmp_path / "site"
    (site / "omlab_readings").mkdir(parents=True)
    for path in TOY.iterdir():
        if path.is_file():
            (site / "omlab_readings" / path.name).write_text(path.read_text())
    info = site / "omlab_readings-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omlab-readings\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[omlab]\nreadings = omlab_readings.plugin\n")
    others = [point.name for point in entry_points(group="omlab") if point.name not in NEEDED]
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("OMLAB_PLUGINS_OFF", ",".join(others))
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    forget_plugins()
    yield tmp_path
    forget_plugins()
    for name in [name for name in sys.modules if name.startswith("omlab_readings")]:
        del sys.modules[name]
