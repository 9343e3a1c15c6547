"""The summary: proteins and types of function count once each, whatever their assays."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from omlab.errors import InputError
from omlab_protein.proteingym import Assay, aggregate, read_table, summary

PUBLISHED, INDELS = Path(__file__).parent / "proteingym", "DMS_indels_Spearman"
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


def test_a_published_summary_is_repeated_to_three_decimals(tmp_path: Path) -> None:
    """ProteinGym's indels (MIT), three models: the table of assays and the summary that were published together."""
    table, published = (PUBLISHED / name for name in (f"{INDELS}_DMS_level.csv", f"Summary_performance_{INDELS}.csv"))
    rows = ["DMS_id,UniProt_ID,coarse_selection_type"]
    rows += [f"{row['DMS ID']},{row['UniProt ID']},{row['Selection Type']}" for row in read_table(table)]
    (tmp_path / "DMS_indels.csv").write_text("\n".join(rows) + "\n")
    found = summary(table, tmp_path / "DMS_indels.csv")
    wanted = {row["Model_name"]: float(row["Average_Spearman"]) for row in read_table(published)}
    assert {model: round(value, 3) for model, value in found.items()} == wanted


@pytest.mark.parametrize(
    ("heading", "cells"),
    [
        ("DMS_id,ours", "{id},{value}"),  # as supervised models are published
        (",DMS ID,ours,DMS_index,taxon,includes_multiple_mutants", "7,{id},{value},3,Human,FALSE"),
        ("DMS ID,ours,Number of Mutants,Selection Type,UniProt ID,Comment", "{id},{value},922,Activity,P,first try"),
    ],
)
def test_columns_about_assays_are_no_models(tmp_path: Path, heading: str, cells: str) -> None:
    values = {"a1": "0.2", "a2": "0.4", "a3": "NA", "s1": "0.1"}
    rows = "".join(cells.format(id=id, value=value) + "\n" for id, value in values.items())
    (tmp_path / "level.csv").write_text(f"{heading}\n{rows}")
    reference = REFERENCE.replace("coarse", "taxon,includes_multiple_mutants,coarse", 1)
    for assay in ASSAYS.splitlines():
        assay, _, function = assay.rpartition(",")
        reference += f"{assay},Human,FALSE,{function}\n"
    (tmp_path / "reference.csv").write_text(reference.replace(ASSAYS, ""))
    assert summary(tmp_path / "level.csv", tmp_path / "reference.csv") == {"ours": pytest.approx((0.3 + 0.1) / 2)}


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="assay 'b9', which is not in"):
        summary(*files(tmp_path, "b9,0.2,0.1,9,Activity,P,Low,Human\n"))
    with pytest.raises(InputError, match="'good' in the row of a1"):
        summary(*files(tmp_path, "a1,good,0.1,9,Activity,P,Low,Human\na2,0.2,0.1,9,Activity,P,Low,Human\n"))
    level, reference = files(tmp_path, "a1,0.1,0.1,9,Activity,P,Low,Human\n")
    with pytest.raises(InputError, match="no column 'DMS_id'"):
        summary(level, level)
    other = tmp_path / "other.csv"
    other.write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="no column 'DMS ID'"):
        summary(other, reference)


def test_nothing_gives_no_figure() -> None:
    assert math.isnan(aggregate({"a": math.nan}, {"a": Assay("P", "Activity")}))
