"""The summary: proteins and types of function count once each, whatever their assays."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from omlab.errors import InputError
from omlab_protein.proteingym import Assay, aggregate, summary

ASSAYS = "0,a1,P,Activity\n1,a2,P,Activity\n2,a3,Q,Activity\n3,s1,P,Stability\n"
REFERENCE = "DMS_index,DMS_id,UniProt_ID,coarse_selection_type\n" + ASSAYS
TABLE = "DMS ID,ESM2 (650M),GEMME,number_mutants,Selection Type,UniProt_ID,MSA_Neff_L_category,Taxon\n"


def files(folder: Path, rows: str) -> tuple[Path, Path]:
    (folder / "level.csv").write_text(TABLE + rows)
    (folder / "reference.csv").write_text(REFERENCE)
    return folder / "level.csv", folder / "reference.csv"


def test_assays_then_proteins_then_types_are_averaged(tmp_path: Path) -> None:
    rows = "a1,0.2,0.1,9,Activity,P,Low,Human\na2,0.4,,9,Activity,P,Low,Human\na3,0.9,0.5,9,Activity,Q,Low,Virus\n"
    found = summary(*files(tmp_path, rows + "s1,0.1,0.7,9,Stability,P,Low,Human\n"))
    assert found == {
        "ESM2 (650M)": pytest.approx(((0.3 + 0.9) / 2 + 0.1) / 2),
        "GEMME": pytest.approx(((0.1 + 0.5) / 2 + 0.7) / 2),
    }


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="assay 'b9', which is not in"):
        summary(*files(tmp_path, "b9,0.2,0.1,9,Activity,P,Low,Human\n"))
    with pytest.raises(InputError, match="'good' in the row of a1"):
        summary(*files(tmp_path, "a1,good,0.1,9,Activity,P,Low,Human\n"))
    level, reference = files(tmp_path, "a1,0.1,0.1,9,Activity,P,Low,Human\n")
    with pytest.raises(InputError, match="no column 'DMS_id'"):
        summary(level, level)
    other = tmp_path / "other.csv"
    other.write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="no column 'DMS ID'"):
        summary(other, reference)


def test_nothing_gives_no_figure() -> None:
    assert math.isnan(aggregate({"a": math.nan}, {"a": Assay("P", "Activity")}))
