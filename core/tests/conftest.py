"""A toy plugin, installed as a real distribution in a folder of its own, in modalities of its own.

Its payloads are numbers on a line (`signal`), words (`note`), what an embedder gives (`vector`) and a result of two
parts (`move`). Models: `adder` adds an offset, `breaker` fails as it is told, `embedder` describes, `mover` needs an
adder, `teller` streams. Its adapters learn the offset (`shift`) and remember a mean (`mean-probe`); its evaluator
measures the mean error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omlab.plugins import installed
from omlab.registry import registry

TOY = Path(__file__).parent / "toy"

Install = Callable[..., Path]


def write_distribution(site: Path, name: str, *, entry_points: dict[str, str], files: dict[str, str]) -> None:
    """Write an importable distribution with entry points into `site`."""
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    rows = "".join(f"{key} = {value}\n" for key, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[omlab]\n{rows}")


def forget_plugins() -> None:
    installed.cache_clear()
    registry.cache_clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path for distributions; nothing else that is installed is loaded as a plugin."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    modules = set(sys.modules)
    others = [e.name for e in __import__("importlib.metadata", fromlist=["x"]).entry_points(group="omlab")]
    monkeypatch.setenv("OMLAB_PLUGINS_OFF", ",".join(others))
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    forget_plugins()
    yield folder
    forget_plugins()
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Install:
    """Install a distribution into `site`: `install("name", entry_points={...}, files={...})`."""

    def run(name: str, *, entry_points: dict[str, str], files: dict[str, str]) -> Path:
        write_distribution(site, name, entry_points=entry_points, files=files)
        forget_plugins()
        return site

    return run


@pytest.fixture
def toy(install: Install) -> Path:
    """The toy plugin, installed."""
    files = {f"omlab_toy/{path.name}": path.read_text() for path in TOY.iterdir() if path.is_file()}
    return install("omlab-toy", entry_points={"toy": "omlab_toy.plugin"}, files=files)


@pytest.fixture
def here(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy plugin, and an empty working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def signal(tmp_path: Path) -> Callable[[str, list[float]], Path]:
    """Write a signal file."""

    def write(name: str, values: list[float]) -> Path:
        path = tmp_path / "signals" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("signal\n" + "\n".join(map(str, values)))
        return path

    return write
