"""ProteinGym's layout: what is there is a case, and a table of another protein is told."""

from __future__ import annotations

from pathlib import Path

import pytest

import omlab
from omlab.errors import InputError, UsageError
from omlab.roles import Dataset

HEAD = "DMS_id,DMS_filename,UniProt_ID,target_seq,coarse_selection_type,DMS_binarization_cutoff\n"


def layout(root: Path) -> Dataset:
    (root / "tables").mkdir()
    rows = "a1,a1.csv,P,MKT,Activity,0.5\na2,a2.csv,Q,MGG,Binding,\na3,a3.csv,Q,MGG,Binding,1\n"
    (root / "DMS_substitutions.csv").write_text(HEAD + rows)
    (root / "tables" / "a1.csv").write_text(
        "mutant,mutated_sequence,DMS_score,DMS_score_bin\nK2R,MRT,1,1\nT3A,MKA,0,0\n"
    )
    (root / "tables" / "a2.csv").write_text("mutant,DMS_score\nK2R,1\n")
    return omlab.load_dataset(f"proteingym:{root}")


def test_the_assays_that_are_there_are_cases(tmp_path: Path) -> None:
    data = layout(tmp_path)
    first, second = data.cases("test")
    sample = first.load()
    assert (sample.id, sample.group, dict(sample.meta)) == ("a1", "P", {"function": "Activity", "cutoff": 0.5})
    assert sample.inputs["mutants"].measured is None  # type: ignore[attr-defined]  # the answer is no input
    assert sample.target.measured == (1.0, 0.0)  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"a2\.csv does not fit its wild type: Mutant K2R says"):
        second.load()
    assert len(data.verify()) == 1
    assert data.about("test").groups == 2


def test_a_folder_without_a_reference_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no DMS_substitutions\.csv"):
        omlab.load_dataset(f"proteingym:{tmp_path}").cases("test")
