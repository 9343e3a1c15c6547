"""A compound result in one file: the first part gets its name, further parts stand beside it."""

from __future__ import annotations

from omlab.jobs.one_file import _beside_name


def test_names_of_further_parts() -> None:
    made = "brain.warped.nii.gz"
    assert _beside_name("out.nii.gz", made, "brain.transform.nii.gz", "brain") == "out.transform.nii.gz"
    assert _beside_name("seg.nii.gz", "ct.nii.gz", "ct.dcm", "ct") == "seg.dcm"
