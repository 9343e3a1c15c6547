"""What the perplexity evaluator writes: the report page and the table of all documents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from omlab_evaluators.bootstrap import CaseRows, Estimate
from omlab_evaluators.page_parts import counted, few, resampling, write_report_page
from omlab_evaluators.perplexity.figures import MEASURES, figures, sums_of
from omlab_report import (
    Column,
    KeyFigure,
    KeyFigures,
    Notes,
    Section,
    Table,
    csv_text,
    read_run,
    write_text,
)

SHOWN_CASES = 300
"""Documents in the table of the page; all are in cases.csv."""


def write_report(rows: CaseRows, whole: Mapping[str, Estimate], *, rounds: int, seed: int, folder: Path) -> list[str]:
    """Write `report.html` and `cases.csv` into `folder`; gives the notes that say how things were counted."""
    run = read_run(folder)
    notes = [
        "Log-probabilities, tokens and bytes (UTF-8) are summed over documents first: long ones count for more.",
        "What ends an answer is not counted. Perplexities per token compare models with the same tokenizer alone.",
        resampling(rounds=rounds, seed=seed),
        *few(len(rows)),
    ]
    key_figures = [
        KeyFigure(m.title, whole[m.key].value, whole[m.key].low, whole[m.key].high, digits=m.digits, note=m.help)
        for m in MEASURES
    ]
    table = _table(rows)
    text = f"The {SHOWN_CASES} worst of {len(table)}; all are in cases.csv." if len(table) > SHOWN_CASES else ""
    columns = [Column("Document"), *(Column(name.capitalize(), numeric=True) for name in ("tokens", "bytes"))]
    columns += [Column(measure.title, numeric=True, digits=measure.digits) for measure in MEASURES]
    sections = [
        Section("", [KeyFigures(key_figures)]),
        Section("Documents, the worst predicted first", [Table(columns, table[:SHOWN_CASES])], text=text),
        Section("Notes", [Notes(notes)]),
    ]
    header = ["case", "tokens", "bytes", *(measure.key for measure in MEASURES)]
    write_text(csv_text(header, sorted(table, key=lambda row: str(row[0]))), folder / "cases.csv")
    tokens = sum(case[0]["tokens"] for case in rows.values())
    counts = f"{counted(len(rows), 'document')}, {counted(tokens, 'token')}"
    write_report_page("Perplexity report", sections, run=run, counts=counts, folder=folder)
    return notes


def _table(rows: CaseRows) -> list[list[str | int | float | None]]:
    """A row a document, most bits per byte first."""
    found = figures(sums_of(rows))
    table: list[list[str | int | float | None]] = [
        [name, case[0]["tokens"], case[0]["bytes"], *(None if math.isnan(value) else float(value) for value in values)]
        for (name, case), values in zip(rows.items(), found, strict=True)
    ]
    return sorted(table, key=lambda row: -float(row[3] or 0))
