"""The check of a port against reference numbers."""

from __future__ import annotations

from pathlib import Path

from omlab_testkit import parity
from omlab_testkit.checks import check
from omlab_testkit.kit import GoldenSubject
from omlab_testkit.outcome import PromiseError


@check(of="golden", runs_model=False)
def golden_case_is_answered(subject: GoldenSubject, folder: Path) -> None:
    """`tests/parity.py` builds the network with the recorded keys and shapes, and gives the recorded outputs."""
    if subject.tests is None:
        raise PromiseError(f"The tests of '{subject.kit.project.name}' are not here, so nothing answers {subject.id}.")
    parity.check_case(parity.load_parity(subject.tests), subject.path)
