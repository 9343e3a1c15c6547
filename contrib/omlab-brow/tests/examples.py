"""What the test kit cannot make up: the data."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from omlab_testkit.parity import load_file


@cache
def dataset_root(card: Any) -> Path:
    """A tiny copy in the form of the repository."""
    folder = Path(mkdtemp(prefix="omlab-brow-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    root: Path = load_file(Path(__file__).with_name("tiny.py")).write_snow(folder)
    return root
