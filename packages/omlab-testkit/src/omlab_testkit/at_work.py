"""omlab at work inside of a test: a toy plugin that is installed, and commands run in this process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import pytest

from omlab.cli import main
from omlab.plugins import installed
from omlab.registry import registry
from omlab.versions import package_versions

Run = Callable[..., tuple[int, str, str]]
"""The words behind `omlab` -> exit status, standard output, standard error."""


@contextmanager
def installed_toy(source: Path, *, package: str, site: Path, beside: Collection[str] | None = None) -> Iterator[None]:
    """A folder of modules as the distribution of a plugin, found as any installed one is.

    Args:
        source: The package's modules, `plugin.py` among them.
        package: The name to import it by, such as `omlab_toy`; its entry point is `toy`.
        site: Where it is installed; must not be there yet.
        beside: The plugins that are there too; None: all that are installed.
    """
    name = package.removeprefix("omlab_")
    shutil.copytree(source, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: omlab-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[omlab]\n{name} = {package}.plugin\n")
    with pytest.MonkeyPatch.context() as patch:
        if beside is not None:
            others = [point.name for point in entry_points(group="omlab") if point.name not in beside]
            patch.setenv("OMLAB_PLUGINS_OFF", ",".join(others))
        patch.syspath_prepend(str(site))
        _forget_plugins()
        yield
    _forget_plugins()
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        del sys.modules[module]


def _forget_plugins() -> None:
    for cached in (installed, registry, package_versions):
        cached.cache_clear()


def omlab_command(patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], *, columns: int = 100) -> Run:
    """Runs `omlab` in this process, in a terminal of so many columns; a traceback fails the test."""
    patch.setenv("COLUMNS", str(columns))

    def run(*words: Any) -> tuple[int, str, str]:
        patch.setattr(sys, "argv", ["omlab", *map(str, words)])
        capture.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capture.readouterr()
        assert "Traceback" not in err
        return cast(int, end.value.code or 0), out, err

    return run
