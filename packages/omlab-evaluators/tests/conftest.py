from functools import cache
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

from omlab_report.themes import THEMES, render_svg


@pytest.fixture(scope="session")
def stand_ins():
    """The names of examples.py: stand-ins for payloads, and small ones of them."""
    return SimpleNamespace(**run_path(str(Path(__file__).with_name("examples.py"))))


@pytest.fixture(autouse=True)
def one_look(request, monkeypatch):
    """Plots are drawn once and shown in every theme and width; the kit's checks of reports draw them in each."""
    if request.path.name != "test_conformance.py":
        drawn = cache(lambda plot: render_svg(plot, THEMES["light_wide"]))
        monkeypatch.setattr("omlab_report.page.render_svg", lambda plot, theme: drawn(plot))
