"""A toy plugin of small pictures, installed as a real distribution in a folder of its own."""

import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omlab.cli import main
from omlab.plugins import installed
from omlab.registry import registry
from omlab.versions import package_versions

TOY = Path(__file__).parent / "toy"
NEEDED = ("data", "payloads", "retrieval")
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def forget_plugins():
    for cached in (installed, registry, package_versions):
        cached.cache_clear()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The toy plugin beside this package and the shared payloads; the working folder."""
    site = tmp_path / "site"
    (site / "omlab_patches").mkdir(parents=True)
    for path in TOY.iterdir():
        if path.is_file():
            (site / "omlab_patches" / path.name).write_text(path.read_text())
    info = site / "omlab_patches-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omlab-patches\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[omlab]\npatches = omlab_patches.plugin\n")
    others = [point.name for point in entry_points(group="omlab") if point.name not in NEEDED]
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("OMLAB_PLUGINS_OFF", ",".join(others))
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    forget_plugins()
    yield folder
    forget_plugins()
    for name in [name for name in sys.modules if name.startswith("omlab_patches")]:
        del sys.modules[name]


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
    monkeypatch.setenv("COLUMNS", "120")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["omlab", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return end.value.code or 0, out, err

    return call
