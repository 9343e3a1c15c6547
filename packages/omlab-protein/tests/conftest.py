"""A toy scorer of variants, installed as a real distribution in a folder of its own."""

import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from omlab.cli import main
from omlab.plugins import installed
from omlab.registry import registry
from omlab.versions import package_versions

TOY = Path(__file__).parent / "toy"
NEEDED = ("payloads", "protein")


def forget_plugins():
    for cached in (installed, registry, package_versions):
        cached.cache_clear()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The toy plugin beside this package and the shared payloads; the working folder."""
    site = tmp_path / "site"
    (site / "omlab_charges").mkdir(parents=True)
    for path in TOY.iterdir():
        if path.is_file():
            (site / "omlab_charges" / path.name).write_text(path.read_text())
    info = site / "omlab_charges-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omlab-charges\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[omlab]\ncharges = omlab_charges.plugin\n")
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
    for name in [name for name in sys.modules if name.startswith("omlab_charges")]:
        del sys.modules[name]


@pytest.fixture
def run(here, monkeypatch, capfd):
    """Run `omlab` in this process; gives (status, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "400")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["omlab", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return end.value.code or 0, out, err

    return call
