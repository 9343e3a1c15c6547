"""What the test kit cannot make up: the data."""

from __future__ import annotations

import atexit
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import numpy as np

from omlab_testkit.parity import load_file


@cache
def dataset_root(card: Any) -> Path:
    """A tiny copy in the form of the repository."""
    folder = Path(mkdtemp(prefix="omlab-brow-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    root: Path = load_file(Path(__file__).with_name("tiny.py")).write_snow(folder)
    return root


def examples(kind: str, card: str) -> list[Any] | None:
    """Bags as wide as BROW's features are, for the classifiers of slides."""
    if kind != "bag":
        return None
    from omlab_slide.testing import example_bags

    bags = example_bags()
    return [replace(bag, features=np.tile(np.asarray(bag.features[:]), (1, 768 // 8))) for bag in bags]
