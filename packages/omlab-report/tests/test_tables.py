from __future__ import annotations

import csv
import math
from typing import Any

import pytest

from omlab_report.tables import csv_text, plain_cell, safe_cell


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+1-555", "'+1-555"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n1", "'\n1"),
        ("'=1", "''=1"),
        ("-1.5e-3", "-1.5e-3"),
        ("+2", "+2"),
        ("-inf", "-inf"),
        ("GPT-4", "GPT-4"),
        ("'quoted'", "'quoted'"),
        ("", ""),
        (-0.5, -0.5),
        (None, ""),
    ],
)
def test_what_a_spreadsheet_would_run_is_text(value: Any, cell: Any) -> None:
    assert safe_cell(value) == cell
    if isinstance(value, str):
        assert plain_cell(cell) == value


def test_a_table_has_only_safe_cells() -> None:
    text = csv_text(["model", "=x"], [["=1+1", 0.25], ["a,b", None], ["-3", -3]])
    assert text == "model,'=x\n'=1+1,0.25\n\"a,b\",\n-3,-3\n"
    assert [plain_cell(cell) for cell in next(csv.reader(text.splitlines()[1:]))] == ["=1+1", "0.25"]
    assert csv_text(["x"], [[math.nan]]) == "x\nnan\n"
