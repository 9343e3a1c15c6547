"""A compound result in one file: the first part gets its name, further parts stand beside it."""

from __future__ import annotations

import pytest

from omlab.jobs.one_file import _beside_name

pytestmark = pytest.mark.usefixtures("here")


def test_names_of_further_parts() -> None:
    assert _beside_name("out.sig", "brain.warped.sig", "brain.transform.sig", "brain") == "out.transform.sig"
    assert _beside_name("seg.sig", "ct.sig", "ct.dcm", "ct") == "seg.dcm"
