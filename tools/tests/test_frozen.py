"""Adapted models of every release of core load, and answer as they did then."""

from pathlib import Path

import pytest

import omlab
from omlab_testkit.compare import ROUNDING, difference
from tools import frozen

KEPT = [
    pytest.param(path.parent, marks=pytest.mark.slow if path.parent.name.endswith("lora") else ())  # to import peft
    for path in sorted(frozen.FOLDER.glob("*/*/adapted.json"))
]
PROVENANCE = frozenset({"source", "model", "facts"})
"""What a result says of where it comes from, which files may leave out."""


def test_this_version_has_its_own() -> None:
    assert list(frozen.missing("omlab-core", omlab.__version__)) == []
    assert len(list(frozen.missing("omlab-core", "99.0.0"))) == 1


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_it_loads_and_answers_as_it_did(folder: Path) -> None:
    (given,), (expected,) = folder.glob(f"{frozen.INPUT}.*"), folder.glob(f"{frozen.EXPECTED}.*")
    found = frozen.answer(folder, given)
    wanted = omlab.read(expected, kind=found.kind)
    assert difference(found, wanted, tolerance=ROUNDING, ignore=PROVENANCE) == ""
