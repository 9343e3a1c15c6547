"""A toy plugin of small pictures, installed as a real distribution in a folder of its own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omlab_testkit.at_work import installed_toy, omlab_command

TOY = Path(__file__).parent / "toy"
NEEDED = ("data", "payloads", "retrieval")
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The toy plugin beside this package and the shared payloads; the working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    with installed_toy(TOY, package="omlab_patches", site=tmp_path / "site", beside=NEEDED):
        yield folder


@pytest.fixture
def draw(here):
    """Draw pictures of a colour into a folder: `draw("known", red=3)` gives known/red-0.png to known/red-2.png."""

    def run(folder, seed=0, **counts):
        (here / folder).mkdir(exist_ok=True)
        rng = np.random.default_rng(seed)
        for name, count in counts.items():
            for number in range(count):
                values = rng.normal(COLOURS[name], 25, (16, 24, 3)).clip(0, 255).astype(np.uint8)
                values[::4] = rng.normal(COLOURS[name], 25, 3).clip(0, 255)
                Image.fromarray(values).resize((96, 64)).save(here / folder / f"{name}-{number}.png")
        return here / folder

    return run


@pytest.fixture
def run(here, monkeypatch, capfd):
    """Run `omlab` in this process; gives (status, stdout, stderr)."""
    return omlab_command(monkeypatch, capfd, columns=120)
