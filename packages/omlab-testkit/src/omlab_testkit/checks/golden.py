"""The check of a port against reference numbers."""

from __future__ import annotations

from pathlib import Path

from omlab_testkit import golden, parity
from omlab_testkit.checks import check
from omlab_testkit.outcome import PromiseError
from omlab_testkit.subjects import GoldenSubject


@check(of="golden")
def golden_file_is_answered(subject: GoldenSubject, folder: Path) -> None:
    """`tests/parity.py` builds a network with the recorded keys and shapes, and gives the recorded numbers."""
    if subject.tests is None:
        raise PromiseError(f"The tests of '{subject.kit.project.name}' are not here, so nothing answers {subject.id}.")
    if golden.read_case(subject.path) is None:
        parity.check_file(subject.tests, subject.path)
    else:
        parity.check_case(parity.load_parity(subject.tests), subject.path)
