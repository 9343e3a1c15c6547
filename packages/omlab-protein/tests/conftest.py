"""A toy scorer of variants, installed as a real distribution in a folder of its own."""

from pathlib import Path

import pytest

from omlab_testkit.at_work import installed_toy, omlab_command

TOY = Path(__file__).parent / "toy"
NEEDED = ("payloads", "protein")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The toy plugin beside this package and the shared payloads; the working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    with installed_toy(TOY, package="omlab_charges", site=tmp_path / "site", beside=NEEDED):
        yield folder


@pytest.fixture
def run(here, monkeypatch, capfd):
    """Run `omlab` in this process; gives (status, stdout, stderr)."""
    return omlab_command(monkeypatch, capfd, columns=400)
