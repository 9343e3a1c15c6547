"""A plugin with a modality of its own, installed in a folder; beside it only this package and the shared kinds."""

from pathlib import Path

import pytest

from omlab.datasets import open_dataset
from omlab_testkit.at_work import installed_toy

TOY = Path(__file__).parent / "toy"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    site = tmp_path / "site"
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    with installed_toy(TOY, package="omlab_toy", site=site, beside=("data", "payloads")):
        yield site


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
