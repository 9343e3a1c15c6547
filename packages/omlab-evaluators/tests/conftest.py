from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def stand_ins():
    """The names of examples.py: stand-ins for payloads, and small ones of them."""
    return SimpleNamespace(**run_path(str(Path(__file__).with_name("examples.py"))))
