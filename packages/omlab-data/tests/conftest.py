"""A plugin with a modality of its own, installed in a folder; beside it only this package and the shared kinds."""

import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from omlab.datasets import open_dataset
from omlab.plugins import installed
from omlab.registry import registry

TOY = Path(__file__).parent / "toy"
OURS = ("data", "payloads")


def forget_plugins():
    installed.cache_clear()
    registry.cache_clear()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "omlab_toy").mkdir(parents=True)
    for file in TOY.iterdir():
        if file.is_file():
            (site / "omlab_toy" / file.name).write_text(file.read_text())
    info = site / "omlab_toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omlab-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[omlab]\ntoy = omlab_toy.plugin\n")
    others = [entry.name for entry in entry_points(group="omlab") if entry.name not in OURS]
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("OMLAB_PLUGINS_OFF", ",".join(others))
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    forget_plugins()
    yield site
    forget_plugins()
    for name in [name for name in sys.modules if name.startswith("omlab_toy")]:
        del sys.modules[name]


@pytest.fixture
def folder(toy, tmp_path, monkeypatch):
    """A folder with six lines of three numbers, their marks, and nothing else."""
    place = tmp_path / "data"
    place.mkdir()
    monkeypatch.chdir(place)
    for number in range(6):
        (place / f"{number}.line").write_text(f"{number} 1 2")
        (place / f"{number}-marks.line").write_text(f"0 1 {number % 3}")
    return place


@pytest.fixture
def table(folder):
    """Write a table and open it: `table("id,line", "a,0.line", ..., seed=1)`."""

    def write(*lines, name="list.csv", **settings):
        text = "\n".join(lines) + "\n"
        (folder / name).write_bytes(text.encode())
        return open_dataset(f"cases:{folder / name}", root=None, settings=settings).dataset

    return write
